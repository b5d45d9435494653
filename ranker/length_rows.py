"""One row of length data, checked by the rules that decide what a row may hold."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

from makespan.ranker.length_error import LengthDataError, shown
from makespan.ranker.length_path import LabelFields
from makespan.ranker.length_values import MOST_TOKENS, label, listed, mean_tokens, seconds, whole, words

OUTPUTS = ("output_tokens", "tokens")
TURNS = ("turns", "steps")
_NOT_TEXT = {*OUTPUTS, *TURNS, "prompt_tokens", "cap", "arrival", "previous_tokens", "finish_reasons"}


@dataclass(frozen=True, slots=True)
class LengthRow:
    """What one row says; 0, NaN or None where it says nothing.

    Parameters
    ----------
    output_tokens
        One length per sample, each at least 1.
    capped
        Per sample whether it was cut off at its cap, or None.
    prompt, prompt_tokens
        The prompt and its tokens.
    observed_tokens, turns
        Of agentic work: tokens that tools and users sent between the turns, and how many turns there were.
    group, prompt_key, model
        Texts; `prompt_key` finds the prompt in the file of prompts.
    arrival, cap, previous_tokens
        Seconds, tokens, and the mean length of the same prompt in an earlier epoch.
    task, domain, version
        Texts: by what the row may be split.
    """

    output_tokens: Sequence[int]
    capped: Sequence[bool] | None
    prompt: str | None
    prompt_tokens: int
    observed_tokens: int
    turns: int
    group: str | None
    prompt_key: str | None
    model: str | None
    arrival: float
    cap: int
    previous_tokens: float
    task: str | None
    domain: str | None
    version: str | None


def length_row(row: Mapping[str, Any], place: str, labels: LabelFields) -> LengthRow:
    """Check a row, which stands at `place`; a value of None is no value."""
    fields = {name: value for name, value in row.items() if value is not None}
    outputs, observed, turns = _outputs(fields, place)
    cap = whole(fields["cap"], "cap", place) if "cap" in fields else 0
    if cap and max(outputs) > cap:
        raise LengthDataError(f"{place}: output_tokens must not exceed the cap of {cap}, got {max(outputs)}")
    key = prompt_key(fields, place)
    return LengthRow(
        output_tokens=outputs,
        capped=_capped(fields, len(outputs), place),
        prompt=words(fields["prompt"], "prompt", place) if "prompt" in fields else None,
        prompt_tokens=whole(fields["prompt_tokens"], "prompt_tokens", place) if "prompt_tokens" in fields else 0,
        observed_tokens=observed,
        turns=turns,
        group=label(fields["group"], "group", place) if "group" in fields else key,
        prompt_key=key,
        model=_label(fields, "model", place),
        arrival=seconds(fields.get("arrival", 0.0), "arrival", place),
        cap=cap,
        previous_tokens=mean_tokens(fields["previous_tokens"], "previous_tokens", place)
        if "previous_tokens" in fields
        else nan,
        task=_label(fields, labels.task, place),
        domain=_label(fields, labels.domain, place),
        version=_label(fields, labels.version, place),
    )


def _label(fields: Mapping[str, Any], name: str, place: str) -> str | None:
    return label(fields[name], name, place) if name in fields else None


def typed(cells: Mapping[str, str]) -> dict[str, Any]:
    """Read the cells of a CSV row: numbers and lists are written as in JSON, all else is text."""
    return {name: _json_or_text(cell) if name in _NOT_TEXT else cell for name, cell in cells.items()}


def prompt_key(fields: Mapping[str, Any], place: str) -> str | None:
    """Return what finds the prompt of a row: its ``prompt_id``, else its ``task`` and ``pair``, else None."""
    if "prompt_id" in fields:
        return label(fields["prompt_id"], "prompt_id", place)
    if "task" in fields and "pair" in fields:
        return f"{label(fields['task'], 'task', place)}/{label(fields['pair'], 'pair', place)}"
    return None


def _outputs(fields: Mapping[str, Any], place: str) -> tuple[Sequence[int], int, int]:
    given = [name for name in OUTPUTS if name in fields]
    if len(given) > 1:
        raise LengthDataError(f"{place}: output_tokens must be given once, got output_tokens and tokens")
    # `steps` beside lengths is a field of the user's own, say the training step.
    told = next((name for name in TURNS if name in fields and not (given and name == "steps")), None)
    if not given and told is None:
        raise LengthDataError(f"{place}: output_tokens must be given, a number or one number per sample, got none")
    outputs = _samples(fields[given[0]], given[0], place) if given else ()
    if told is None:
        return outputs, 0, 1
    generated, observed, turns = _turns(fields[told], told, place)
    if given and list(outputs) != [generated]:
        raise LengthDataError(f"{place}: {given[0]} must be the {generated} generated in {told}, got {shown(outputs)}")
    return (generated,), observed, turns


def _samples(value: Any, field: str, place: str) -> Sequence[int]:
    """Return one length per sample; an empty answer, 0, took the one token that ended it."""
    if not isinstance(value, list):
        return (max(whole(value, field, place, 0), 1),)
    samples = listed(value, "a number, or a list with one number per sample", field, place)
    if all(type(tokens) is int and 1 <= tokens <= MOST_TOKENS for tokens in samples):
        return samples
    return [max(whole(tokens, f"{field}[{index}]", place, 0), 1) for index, tokens in enumerate(samples)]


def _turns(value: Any, field: str, place: str) -> tuple[int, int, int]:
    generated = observed = 0
    turns = listed(value, "a list with an object {gen, obs, tool} per turn, at least one", field, place)
    for index, turn in enumerate(turns):
        if not isinstance(turn, dict):
            raise LengthDataError(f"{place}: {field}[{index}] must be an object {{gen, obs, tool}}, got {shown(turn)}")
        generated += whole(turn.get("gen"), f"{field}[{index}].gen", place, 0)
        if turn.get("obs") is not None:
            observed += whole(turn["obs"], f"{field}[{index}].obs", place, 0)
    return whole(generated, f"the sum of gen in {field}", place), observed, len(turns)


def _capped(fields: Mapping[str, Any], count: int, place: str) -> Sequence[bool] | None:
    if "finish_reasons" not in fields:
        return None
    value = fields["finish_reasons"]
    reasons = value if isinstance(value, list) else [value]
    if len(reasons) != count or not all(isinstance(reason, str) for reason in reasons):
        raise LengthDataError(f"{place}: finish_reasons must hold one text per sample ({count}), got {shown(value)}")
    return [reason == "length" for reason in reasons]


def _json_or_text(cell: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell
