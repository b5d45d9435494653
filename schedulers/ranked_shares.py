"""RhymeRL's placement within one stage: prompts ranked by their last length, in shares that end when they should."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from makespan.schedulers.decode_time import marginal_pieces
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View

HALVINGS = 45


@dataclass(frozen=True, slots=True)
class RankedShares:
    """Rank requests by the length that is believed and give each instance a stretch of the ranks, short ones first.

    Long requests get more instances than short ones, because a stretch is cut where its instance would finish, and finish
    times rise along a line: instance k of N ends at ``T * (1 + slope * k / (N - 1))``, with the least T at which all are
    placed, by bisection.

    Parameters
    ----------
    slope
        By how much of the first instance's time the last one ends later. HistoPipe pairs such a step with one that runs
        the other way round, so that the difference comes back; within one stage it does not, so it is 0 here.
    descending
        Long ones first: the other step of the pair.

    Notes
    -----
    arXiv 2508.18588; only a third-party note on the paper was read. The number of ranking groups is not known: each instance
    is one. The finish time of a stretch is that of requests which start together and decode; profiled curves there. Samples
    of a prompt have the same history and so stay together but at the cuts. Where nothing is known all are of one rank and
    shares are equal.
    """

    slope: float = 0.0
    descending: bool = False
    places_at_once: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.slope >= 0:
            raise ValueError(f"the slope of finish times must not be negative, got {self.slope}")

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the instances by rank."""
        known = np.flatnonzero(view.arrived & ~view.ended)
        remaining = np.maximum(view.estimates.point - view.generated, 1.0)
        longest_first = known[np.lexsort((view.requests.sequence[known], -remaining[known]))]
        lengths = remaining[longest_first]
        # Filled from the instance that gets the longest, which is the one that ends last.
        order = view.cluster.by_sequence if self.descending else view.cluster.by_sequence[::-1]
        kinds = {i: marginal_pieces(i) for i in {replace(i, sequence=0) for i in view.cluster}}
        pieces = [kinds[replace(view.cluster.instances[i], sequence=0)] for i in order]
        late = (1 + self.slope * np.linspace(1, 0, len(order))).tolist()
        before = np.concatenate([[0.0], np.cumsum(lengths)]).tolist()

        def ends(limit: float) -> list[int]:
            first, found = 0, []
            for piece, weight in zip(pieces, late, strict=True):
                first = _share(before, piece, limit * weight, first)
                found.append(first)
            return found

        low, high = 0.0, max(before[-1] * max(s for _, s in piece) for piece in pieces) * (1 + 1e-9) + 1e-12
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if ends(middle)[-1] == len(lengths) else (middle, high)
        turn = np.empty(len(view.requests), dtype=np.int64)
        turn[longest_first] = np.searchsorted(ends(high), np.arange(len(lengths)), side="right")
        placed: IntArray = order[turn[rows]]
        return placed


def _share(before: list[float], pieces: list[tuple[int, float]], limit: float, first: int) -> int:
    """Return up to which request an instance's share goes, so that those from `first` on end together in time.

    ``before[k]`` is the sum of the first k lengths.
    """
    end, last = first, len(before) - 1
    for most, seconds in pieces:
        stop = min(first + most, last)
        needed = (before[stop] - before[end]) * seconds
        if needed > limit:
            return max(end, bisect_right(before, before[end] + limit / seconds, end, stop + 1) - 1)
        limit -= max(needed, 0.0)
        end = stop
    return end
