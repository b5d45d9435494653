"""Log-spaced bins of output length that end at a cap, which is a bin of its own."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray

BINS = 64


@dataclass(frozen=True, eq=False)
class CappedGrid:
    """Bins over the lengths 1, 2, ... `cap`; what was cut off at the cap is not mixed with what ended before.

    Parameters
    ----------
    cap
        The largest length, at least 1.
    """

    cap: int

    def __post_init__(self) -> None:
        if self.cap < 1:
            raise ValueError(f"a cap must be at least 1, got {self.cap}")

    @cached_property
    def first(self) -> IntArray:
        """The first length of every bin, increasing from 1 to the cap. Shape (B,)."""
        spaced = np.floor(np.exp(np.linspace(0, np.log(self.cap), BINS)) * (1 + 1e-12)).astype(np.int64)
        return np.unique(np.append(np.minimum(spaced, self.cap), self.cap))

    @cached_property
    def after(self) -> IntArray:
        """The first length that lies beyond every bin. Shape (B,)."""
        return np.append(self.first[1:], self.cap + 1)

    @cached_property
    def middle(self) -> FloatArray:
        """The mean of the lengths of every bin. Shape (B,)."""
        means: FloatArray = (self.first + self.after - 1) / 2
        return means

    def __len__(self) -> int:
        return len(self.first)

    def of(self, tokens: IntArray) -> IntArray:
        """Return the bin of every length; that of 0, of what has not begun, is the first."""
        bins: IntArray = np.maximum(np.searchsorted(self.first, tokens, side="right") - 1, 0)
        return bins

    def survived(self, generated: IntArray, bins: IntArray) -> FloatArray:
        """Return how much of its bin a request that has generated so much has left behind, shape like `generated`."""
        share: FloatArray = (generated - self.first[bins] + 1) / (self.after - self.first)[bins]
        return share
