"""Issues: how many requests are wanted, and what becomes of those that are not finished then."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from makespan.schedulers.types import IntArray
from makespan.schedulers.view import FINISHED, View


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


@dataclass(frozen=True, slots=True)
class FirstSamples:
    """Abort the rest once `count` requests have finished (SortedRL's harvest, arXiv 2603.23414)."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"a round must wait for at least 1 sample, got {self.count}")

    def abort(self, view: View) -> IntArray:
        """Return all that are unfinished once enough have finished."""
        if int((view.state == FINISHED).sum()) < self.count:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(~view.ended)


@dataclass(frozen=True, slots=True)
class FirstPrompts:
    """Abort the rest once `prompts` prompts have `responses` finished responses each.

    What a prompt has been issued beyond its `responses` is aborted as soon as it is complete (RollPacker's tail batching,
    arXiv 2509.21009, section 4; APRIL, arXiv 2509.18521, stops a round in the same way).

    Parameters
    ----------
    prompts, responses
        Both at least 1.
    finished_before
        Responses by prompt (`Requests.group`) that an earlier round has finished.
    """

    prompts: int
    responses: int
    finished_before: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("prompts", "responses"):
            if getattr(self, name) < 1:
                raise ValueError(f"a round must wait for at least 1 of {name}, got {getattr(self, name)}")

    def abort(self, view: View) -> IntArray:
        """Return what is unfinished of complete prompts, and everything once enough are complete."""
        groups, position = np.unique(view.requests.group, return_inverse=True)
        finished = np.bincount(position[view.state == FINISHED], minlength=len(groups))
        finished += [self.finished_before.get(group, 0) for group in groups.tolist()]
        complete = finished >= self.responses
        unfinished = ~view.ended
        if int(complete.sum()) < self.prompts:
            unfinished &= complete[position]
        return np.flatnonzero(unfinished)
