"""Length data as columns: what the rows of a file say."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, Self

import numpy as np

from makespan.ranker.length_rows import LengthRow
from makespan.schedulers.types import BoolArray, FloatArray, IntArray

Texts = Sequence[str | None]


@dataclass(frozen=True, slots=True, eq=False)
class LengthColumns:
    """Output lengths of prompts, one column per fact; 0, NaN or None where a row says nothing.

    Parameters
    ----------
    line
        Where each row stands in its file. Shape (n,).
    samples
        Samples of each row. Shape (n,).
    output_tokens
        Of every sample, row after row, at least 1. Shape (sum of `samples`,).
    capped
        Of every sample whether it was cut off at its cap. Shape (sum of `samples`,).
    prompt
        Texts, or None where unknown. Length n.
    prompt_tokens
        At least 1. Shape (n,).
    observed_tokens, turns
        Of agentic work, which counts as one request: the tokens that tools and users sent between its turns, which are
        prefilled like a prompt, and the number of turns. 0 and 1 otherwise. Shape (n,).
    named_group, prompt_key
        What the file calls the group and the prompt. Length n.
    model, task, domain, version
        Names, or None where unknown. Length n.
    arrival
        Seconds. Shape (n,).
    cap
        Cap on new tokens. Shape (n,).
    previous_tokens
        Mean length of the same prompt in an earlier epoch. Shape (n,).
    """

    line: IntArray
    samples: IntArray
    output_tokens: IntArray
    capped: BoolArray
    prompt: Texts
    prompt_tokens: IntArray
    observed_tokens: IntArray
    turns: IntArray
    named_group: Texts
    prompt_key: Texts
    model: Texts
    arrival: FloatArray
    cap: IntArray
    previous_tokens: FloatArray
    task: Texts
    domain: Texts
    version: Texts

    @classmethod
    def of_rows(cls, lines: Sequence[int], rows: Sequence[LengthRow]) -> Self:
        """Turn checked rows into columns."""
        samples = integers([len(row.output_tokens) for row in rows])
        outputs = integers(list(chain.from_iterable(row.output_tokens for row in rows)))
        cap = integers([row.cap for row in rows])
        capped = outputs == np.repeat(cap, samples)
        told = np.repeat(np.array([row.capped is not None for row in rows], dtype=np.bool_), samples)
        capped[told] = list(chain.from_iterable(row.capped for row in rows if row.capped is not None))
        return cls(
            line=integers(lines),
            samples=samples,
            output_tokens=outputs,
            capped=capped,
            prompt=[row.prompt for row in rows],
            prompt_tokens=integers([row.prompt_tokens for row in rows]),
            observed_tokens=integers([row.observed_tokens for row in rows]),
            turns=integers([row.turns for row in rows]),
            named_group=[row.group for row in rows],
            prompt_key=[row.prompt_key for row in rows],
            model=[row.model for row in rows],
            arrival=np.array([row.arrival for row in rows], dtype=np.float64),
            cap=cap,
            previous_tokens=np.array([row.previous_tokens for row in rows], dtype=np.float64),
            task=[row.task for row in rows],
            domain=[row.domain for row in rows],
            version=[row.version for row in rows],
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of several parts, one after another."""
        columns: dict[str, Any] = {}
        for field in fields(cls):
            values = [getattr(part, field.name) for part in parts]
            numeric = isinstance(values[0], np.ndarray)
            columns[field.name] = np.concatenate(values) if numeric else list(chain.from_iterable(values))
        return cls(**columns)

    def __len__(self) -> int:
        return len(self.line)


def integers(values: Sequence[int]) -> IntArray:
    """Return whole numbers as a column."""
    return np.array(values, dtype=np.int64)
