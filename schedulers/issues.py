"""Issues: how many requests are wanted, and what becomes of those that are not finished then."""

from dataclasses import dataclass
from math import ceil

import numpy as np

from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class KeepAll:
    """Every request is wanted; none is aborted."""

    def abort(self, view: View) -> IntArray:
        """Return nothing."""
        return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class OverIssue:
    """Issue `factor` times what is wanted; when enough have finished, abort the rest.

    The first half of APRIL (arXiv 2509.18521, factor 2) and of RollPacker's short rounds (arXiv 2509.21009,
    factor 1.25). It makes the lengths that are kept shorter than those that were asked for.
    """

    factor: float

    def __post_init__(self) -> None:
        if not self.factor > 1:
            raise ValueError(f"an over-issue factor must be above 1, got {self.factor}")

    def abort(self, view: View) -> IntArray:
        """Return all that are unfinished once the wanted number has finished."""
        wanted = ceil(len(view.requests) / self.factor)
        if int(view.ended.sum()) < wanted:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(~view.ended)
