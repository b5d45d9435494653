"""Agentic requests: what is generated in turns, with a tool call between one turn and the next."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from makespan.schedulers.types import FloatArray, IntArray, as_floats, as_integers, at_least

LONGEST_GAP_S = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Turns:
    """The turns of n requests, one after the other; those of request `j` are rows ``first[j]`` to ``first[j + 1]``.

    Like output lengths, they are known to an engine and to no policy.

    Parameters
    ----------
    first
        Row of the first turn of each request, and the number of all turns. Shape (n + 1,).
    tokens
        Tokens generated in each turn, at least 1. Shape (m,).
    gap_s
        Seconds that the tool takes after the turn; 0 after the last one of a request. Shape (m,).
    added_tokens
        Tokens that the tool's answer adds to the prompt of the next turn; 0 after the last one. Shape (m,).
    """

    first: IntArray
    tokens: IntArray
    gap_s: FloatArray
    added_tokens: IntArray

    def __post_init__(self) -> None:
        count = len(self.tokens)
        for name in ("gap_s", "added_tokens"):
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name} must have {count} rows, one for each turn, got {len(getattr(self, name))}")
        if len(self.first) < 2 or self.first[0] != 0 or self.first[-1] != count:
            ends = self.first[[0, -1]].tolist() if len(self.first) else []
            raise ValueError(f"first must go from 0 to the number of turns, {count}, got {ends}")
        if (np.diff(self.first) < 1).any():
            raise ValueError(f"a request must have at least 1 turn, got {int(np.diff(self.first).min())}")
        at_least(self.tokens, 1, "tokens of a turn")
        at_least(self.gap_s, 0, "gap_s")
        at_least(self.added_tokens, 0, "added_tokens")
        if not (self.gap_s <= LONGEST_GAP_S).all():
            raise ValueError(f"gap_s must be at most {LONGEST_GAP_S:,}, got {self.gap_s.max()}")
        last = self.first[1:] - 1
        if self.gap_s[last].any() or self.added_tokens[last].any():
            raise ValueError("nothing must follow the last turn of a request, got a gap or added tokens")

    @classmethod
    def of(cls, first: ArrayLike, tokens: ArrayLike, gap_s: ArrayLike, added_tokens: ArrayLike) -> Self:
        """Build turns from anything array-like."""
        return cls(
            first=as_integers(first, "first"),
            tokens=as_integers(tokens, "tokens of a turn"),
            gap_s=as_floats(gap_s, "gap_s"),
            added_tokens=as_integers(added_tokens, "added_tokens"),
        )

    @classmethod
    def single(cls, output_tokens: IntArray) -> Self:
        """Return one turn for each request."""
        count = len(output_tokens)
        nothing = np.zeros(count, dtype=np.int64)
        return cls(np.arange(count + 1), output_tokens, nothing.astype(np.float64), nothing)

    def __len__(self) -> int:
        return len(self.first) - 1

    def check(self, output_tokens: IntArray) -> None:
        """Refuse turns that do not add up to the outputs of shape (n,)."""
        if len(self) != len(output_tokens):
            raise ValueError(f"turns must be those of {len(output_tokens)} requests, got {len(self)}")
        sums = np.add.reduceat(self.tokens, self.first[:-1])
        wrong = np.flatnonzero(sums != output_tokens)
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"the turns of a request must add up to its {int(output_tokens[row])} tokens, got {int(sums[row])} "
                f"for request {row}"
            )

    @property
    def added_of_requests(self) -> IntArray:
        """Tokens that tools add to each request in all, shape (n,)."""
        added: IntArray = np.add.reduceat(self.added_tokens, self.first[:-1])
        return added
