"""The fast way from a file to columns: whole columns are checked at once, and any doubt is left to the slow way."""

from typing import Any

import numpy as np

from makespan.ranker.arrow_columns import (
    Doubt,
    fields_of,
    flat,
    full_column,
    holds,
    is_list,
    labels,
    optional_numbers,
    optional_texts,
    optional_tokens,
    whole_numbers,
)
from makespan.ranker.length_columns import LengthColumns, Texts
from makespan.ranker.length_path import LengthPath
from makespan.ranker.length_rows import OUTPUTS, TURNS
from makespan.ranker.length_values import MOST_TOKENS
from makespan.schedulers.types import BoolArray, IntArray


def table_columns(table: Any, path: LengthPath, first: int = 1) -> LengthColumns | None:
    """Return the columns of the rows of a `pyarrow.Table` that a path chooses, or None where one is in doubt.

    The rows are numbered from `first`.

    What is returned equals what reading row by row gives, which the tests assert.
    """
    try:
        return _columns(table, path, first)
    except (Doubt, UnicodeDecodeError):
        return None


def _columns(table: Any, path: LengthPath, first: int) -> LengthColumns:
    names = table.column_names
    if len(set(names)) < len(names):
        raise Doubt
    chosen = np.ones(len(table), dtype=np.bool_)
    for field, value in path.where:
        chosen &= holds(full_column(table, field), value)
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return LengthColumns.of_rows([], [])
    if len(rows) < len(table):
        table = table.take(rows)
    samples, outputs, observed, turns = _outputs(table)
    cap = optional_tokens(table, "cap")
    if "cap" in names and (outputs > np.repeat(cap, samples)).any():
        raise Doubt
    key = _prompt_key(table)
    return LengthColumns(
        line=first + rows,
        samples=samples,
        output_tokens=outputs,
        capped=_capped(table, samples, outputs, cap),
        prompt=optional_texts(table, "prompt"),
        prompt_tokens=optional_tokens(table, "prompt_tokens"),
        observed_tokens=observed,
        turns=turns,
        named_group=labels(table, "group") if "group" in names else key,
        prompt_key=key,
        model=_label(table, "model"),
        arrival=optional_numbers(table, "arrival", 0.0),
        cap=cap,
        previous_tokens=optional_numbers(table, "previous_tokens", np.nan),
        task=_label(table, path.labels.task, needed=path.labels.task != "task"),
        domain=_label(table, path.labels.domain, needed=path.labels.domain != "domain"),
        version=_label(table, path.labels.version, needed=path.labels.version != "version"),
    )


def _label(table: Any, name: str, *, needed: bool = False) -> Texts:
    if name not in table.column_names:
        if needed:
            raise Doubt
        return [None] * len(table)
    return labels(table, name)


def _outputs(table: Any) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    given = [name for name in (*OUTPUTS, *TURNS) if name in table.column_names]
    rows = len(table)
    if len(given) != 1:
        raise Doubt
    column = full_column(table, given[0])
    ones, none = np.ones(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    if not is_list(column):
        if given[0] in TURNS:
            raise Doubt
        return ones, np.maximum(whole_numbers(column, 0), 1), none, ones
    counts, values = flat(column)
    if given[0] in OUTPUTS:
        return counts, np.maximum(whole_numbers(values, 0), 1), none, ones
    turns = fields_of(values)
    if "gen" not in turns or "obs" not in turns:
        raise Doubt
    starts = np.cumsum(counts) - counts
    generated = np.add.reduceat(whole_numbers(turns["gen"], 0), starts)
    observed = np.add.reduceat(whole_numbers(turns["obs"], 0), starts)
    if ((generated < 1) | (generated > MOST_TOKENS)).any():
        raise Doubt
    return ones, generated, observed, counts


def _capped(table: Any, samples: IntArray, outputs: IntArray, cap: IntArray) -> BoolArray:
    if "finish_reasons" not in table.column_names:
        at_cap: BoolArray = outputs == np.repeat(cap, samples)
        return at_cap
    column = full_column(table, "finish_reasons")
    if not is_list(column):
        raise Doubt
    counts, values = flat(column)
    reasons = values.to_pylist()
    if (counts != samples).any() or not all(isinstance(reason, str) for reason in reasons):
        raise Doubt
    return np.array([reason == "length" for reason in reasons], dtype=np.bool_)


def _prompt_key(table: Any) -> Texts:
    names = table.column_names
    if "prompt_id" in names:
        return labels(table, "prompt_id")
    if "task" in names and "pair" in names:
        pairs = zip(labels(table, "task"), labels(table, "pair"), strict=True)
        return [f"{task}/{pair}" for task, pair in pairs]
    return [None] * len(table)
