"""Log-spaced bins of output length: the grid on which distributions of lengths live."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray

BINS = 128


@dataclass(frozen=True, eq=False)
class LengthBins:
    """Bins over the lengths 1, 2, ... up to `longest`; the last one also takes all that is longer.

    Parameters
    ----------
    longest
        Tokens, at least 2.
    """

    longest: int

    @classmethod
    def covering(cls, output_tokens: IntArray) -> Self:
        """Return bins with room for four times the longest output: some outputs were cut off."""
        return cls(max(4 * int(output_tokens.max()), 64))

    @cached_property
    def edges(self) -> IntArray:
        """The first length of every bin, increasing from 1. Shape (B,)."""
        spaced = np.exp(np.linspace(0, np.log(self.longest), BINS + 1))[:-1]
        edges = np.maximum(np.floor(spaced).astype(np.int64), 1)
        # Near 1 the spacing is below one token: such bins would be empty.
        return np.unique(edges)

    def __len__(self) -> int:
        return len(self.edges)

    @cached_property
    def tokens(self) -> FloatArray:
        """The mean length within every bin, its lengths taken as equally likely. Shape (B,)."""
        after = np.append(self.edges[1:], max(int(self.longest), int(self.edges[-1]) + 1))
        middle: FloatArray = (self.edges + after - 1) / 2
        return middle

    @cached_property
    def log_tokens(self) -> FloatArray:
        """``log(1 + tokens)`` of every bin. Shape (B,)."""
        logs: FloatArray = np.log1p(self.tokens)
        return logs

    @cached_property
    def _table(self) -> IntArray:
        return np.searchsorted(self.edges, np.arange(min(self.longest, 1 << 20) + 1), side="right") - 1

    def of(self, tokens: IntArray) -> IntArray:
        """Return the bin of every length; -1 for 0, which no output has."""
        bins: IntArray = self._table[np.minimum(tokens, len(self._table) - 1)]
        return bins

    def place(self, tokens: int) -> int:
        """Return the bin of one length."""
        return int(self._table[min(tokens, len(self._table) - 1)])
