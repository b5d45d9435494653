"""Groups of samples: what a ranker learns from and is measured on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from makespan.ranker.length_columns import Texts
from makespan.ranker.length_data import LengthData
from makespan.ranker.length_error import LengthDataError
from makespan.schedulers.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class PromptGroups:
    """The samples of each prompt under each policy version, one column per fact; group `g` is row `g`.

    Parameters
    ----------
    prompt
        Texts. Length G.
    prompt_number
        Groups with equal numbers ask with the same words, whatever the file calls them. Shape (G,).
    prompt_tokens
        Shape (G,).
    task, domain, version
        Names; the empty text where unknown. Length G.
    samples
        Samples of each group, at least 1. Shape (G,).
    output_tokens
        Of every sample, group after group. Shape (sum of `samples`,).
    capped
        Of every sample whether it was cut off: its length is at least `output_tokens`, and not known. Same shape.
    cap
        Cap on new tokens, 0 where unknown. Shape (G,).
    previous_tokens
        Mean length in an earlier epoch, NaN where unknown. Shape (G,).
    """

    prompt: Sequence[str]
    prompt_number: IntArray
    prompt_tokens: IntArray
    task: Sequence[str]
    domain: Sequence[str]
    version: Sequence[str]
    samples: IntArray
    output_tokens: IntArray
    capped: BoolArray
    cap: IntArray
    previous_tokens: FloatArray

    @classmethod
    def of(cls, data: LengthData) -> Self:
        """Gather the rows of length data that share a group; all must come from one model.

        Raises
        ------
        LengthDataError
            When rows name different models, only some name one, or one has no prompt.
        """
        _assert_one_model(data)
        order = np.argsort(data.group, kind="stable")
        first = order[np.flatnonzero(np.diff(data.group[order], prepend=-1))]
        starts = np.cumsum(data.samples) - data.samples
        positions = np.concatenate([np.arange(starts[r], starts[r] + data.samples[r]) for r in order])
        texts = [_prompt(data, int(row)) for row in first]
        numbers: dict[str, int] = {}
        return cls(
            prompt=texts,
            prompt_number=np.array([numbers.setdefault(" ".join(text.split()), len(numbers)) for text in texts]),
            prompt_tokens=data.prompt_tokens[first],
            task=_names(data.task, first),
            domain=_names(data.domain, first),
            version=_names(data.version, first),
            samples=np.bincount(data.group, weights=data.samples).astype(np.int64),
            output_tokens=data.output_tokens[positions],
            capped=data.capped[positions],
            cap=data.cap[first],
            previous_tokens=data.previous_tokens[first],
        )

    def __len__(self) -> int:
        return len(self.prompt)

    @property
    def group(self) -> IntArray:
        """The group of every sample."""
        return np.repeat(np.arange(len(self)), self.samples)

    @property
    def starts(self) -> IntArray:
        """Where the samples of each group begin, shape (G,)."""
        return np.cumsum(self.samples) - self.samples

    @property
    def mean_tokens(self) -> FloatArray:
        """Mean output length of each group, capped samples taken as they are. Shape (G,)."""
        means: FloatArray = np.add.reduceat(self.output_tokens, self.starts) / self.samples
        return means

    @property
    def max_tokens(self) -> FloatArray:
        """Longest output of each group. Shape (G,)."""
        longest: FloatArray = np.maximum.reduceat(self.output_tokens, self.starts).astype(np.float64)
        return longest

    def take(self, chosen: IntArray | BoolArray) -> Self:
        """Return some of the groups, in the order given."""
        rows = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        spans = [np.arange(a, a + n) for a, n in zip(self.starts[rows], self.samples[rows], strict=True)]
        positions = np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)
        return type(self)(
            prompt=[self.prompt[row] for row in rows],
            prompt_number=self.prompt_number[rows],
            prompt_tokens=self.prompt_tokens[rows],
            task=[self.task[row] for row in rows],
            domain=[self.domain[row] for row in rows],
            version=[self.version[row] for row in rows],
            samples=self.samples[rows],
            output_tokens=self.output_tokens[positions],
            capped=self.capped[positions],
            cap=self.cap[rows],
            previous_tokens=self.previous_tokens[rows],
        )


def codes(names: Sequence[str]) -> IntArray:
    """Number names in the order in which they appear."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _names(texts: Texts, rows: IntArray) -> list[str]:
    return [texts[row] or "" for row in rows]


def _prompt(data: LengthData, row: int) -> str:
    text = data.prompt[row]
    if text is None:
        raise LengthDataError(f"{data.path.file}, line {data.line[row]}: a ranker needs the text of the prompt, got none")
    return text


def _assert_one_model(data: LengthData) -> None:
    models = sorted({"none" if model is None else model for model in data.model})
    if len(models) > 1:
        shown = ", ".join(models[:4]) + (f" and {len(models) - 4} more" if len(models) > 4 else "")
        raise LengthDataError(
            f"{data.path.file}: a ranker learns from one model, which #model=NAME chooses, got {len(models)}: {shown}"
        )
