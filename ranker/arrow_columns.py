"""Columns of a pyarrow table as numpy columns and lists, each checked as a whole."""

from typing import Any

import numpy as np

from makespan.ranker.length_columns import Texts
from makespan.ranker.length_values import MOST_TOKENS, as_text
from makespan.schedulers.types import BoolArray, FloatArray, IntArray

_WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
_FRACTIONAL = ("float", "double")
_TEXTS = ("string", "large_string")


class Doubt(Exception):
    """A column is not plainly right; it may be wrong, or only unusual."""


def full_column(table: Any, name: str) -> Any:
    """Return a column that exists and has a value in every row."""
    if name not in table.column_names:
        raise Doubt
    column = table[name].combine_chunks()
    if column.null_count:
        raise Doubt
    return column


def is_list(column: Any) -> bool:
    """Return whether every value is a list."""
    return str(column.type).startswith(("list<", "large_list<"))


def flat(column: Any) -> tuple[IntArray, Any]:
    """Return the lengths of lists, at least 1 each, and their values one after another."""
    counts: IntArray = column.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    if (counts < 1).any():
        raise Doubt
    return counts, column.flatten()


def fields_of(column: Any) -> dict[str, Any]:
    """Return the columns of objects."""
    if column.null_count or not str(column.type).startswith("struct<"):
        raise Doubt
    return dict(zip((field.name for field in column.type), column.flatten(), strict=True))


def whole_numbers(column: Any, least: int = 1) -> IntArray:
    """Return whole numbers of at least `least`."""
    if column.null_count or str(column.type) not in _WHOLE + _FRACTIONAL:
        raise Doubt
    raw = column.to_numpy(zero_copy_only=False)
    if not ((raw >= least) & (raw <= MOST_TOKENS) & (raw == np.floor(raw))).all():
        raise Doubt
    numbers: IntArray = raw.astype(np.int64)
    return numbers


def optional_tokens(table: Any, name: str) -> IntArray:
    """Return a column of whole numbers of at least 1; zeros where there is no such column."""
    if name not in table.column_names:
        return np.zeros(len(table), dtype=np.int64)
    return whole_numbers(full_column(table, name))


def optional_numbers(table: Any, name: str, default: float) -> FloatArray:
    """Return a column of positive numbers, or of `default` where there is no such column."""
    if name not in table.column_names:
        return np.full(len(table), default)
    column = full_column(table, name)
    if str(column.type) not in _WHOLE + _FRACTIONAL:
        raise Doubt
    raw: FloatArray = column.to_numpy(zero_copy_only=False).astype(np.float64)
    if not (np.isfinite(raw) & ((raw > 0) | (raw == default))).all():
        raise Doubt
    return raw


def optional_texts(table: Any, name: str) -> Texts:
    """Return a column of texts; None where there is no such column."""
    if name not in table.column_names:
        return [None] * len(table)
    column = full_column(table, name)
    if str(column.type) not in _TEXTS:
        raise Doubt
    values: Texts = column.to_pylist()
    if "" in values:
        raise Doubt
    return values


def labels(table: Any, name: str) -> Texts:
    """Return a column of texts or numbers as texts."""
    values, codes = _encoded(full_column(table, name))
    if "" in values:
        raise Doubt
    return [values[code] for code in codes]


def holds(column: Any, value: str) -> BoolArray:
    """Return where a column, as text, equals `value`."""
    values, codes = _encoded(column)
    return np.array([entry == value for entry in values], dtype=np.bool_)[codes]


def _encoded(column: Any) -> tuple[list[str], list[int]]:
    # Not every type keeps the wording of the file: a text that looks like a date is read as one, and 1 beside 2.5 as 1.0.
    if str(column.type) not in (*_TEXTS, *_WHOLE, "bool"):
        raise Doubt
    coded = column.dictionary_encode()
    return [as_text(value) for value in coded.dictionary.to_pylist()], coded.indices.to_pylist()
