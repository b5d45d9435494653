"""TailSieve's routing: groups that were late last time get instances of their own (arXiv 2608.22788)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from makespan.schedulers.decode_time import marginal_seconds
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class IsolatedTail:
    """Of the groups believed to be unfinished at a cutoff, isolate as many on as many instances as ends earliest.

    Parameters
    ----------
    excess
        Groups beyond the number required that were launched when the candidates were found; those unfinished at the
        cutoff are ``excess / (1 + excess)`` of all, the ones whose longest request is longest. The paper has 0.05, 0.1
        and 0.25; all candidates together are the most that is isolated.

    Notes
    -----
    A group stays whole and goes round robin within its pool, as published. The paper finds the number of groups and the
    number of instances step by step, from the times of the steps before; one stage has none, so both are found at once
    from its model of the decode time, on the lengths that are believed, equal pools and no pool included. Where no group is
    believed to be longer than the others, nothing is isolated: its uniform routing. Instances are taken to be like the
    first.
    """

    excess: float = 0.1
    places_at_once: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.excess > 0:
            raise ValueError(f"the share of excess groups must be positive, got {self.excess}")

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the instances of the tail and of the bulk, groups in turn."""
        known = np.flatnonzero(view.arrived & ~view.ended)
        known = known[np.argsort(view.requests.sequence[known])]
        _, first, group = np.unique(view.requests.group[known], return_index=True, return_inverse=True)
        point = view.estimates.point[known]
        longest = np.zeros(len(first))
        np.maximum.at(longest, group, point)
        by_length = np.lexsort((first, -longest))
        isolated, reserved = self._pools(view, longest[by_length], by_length, group, point)
        turn = np.empty(len(first), dtype=np.int64)
        count = len(view.cluster)
        # Round robin within a pool goes by who came first.
        tail, bulk = (g[np.argsort(first[g])] for g in (by_length[:isolated], by_length[isolated:]))
        turn[tail] = np.arange(len(tail)) % max(reserved, 1)
        turn[bulk] = reserved + np.arange(len(bulk)) % (count - reserved)
        where = np.empty(len(view.requests), dtype=np.int64)
        where[known] = turn[group]
        return view.cluster.by_sequence[where[rows]]

    def _pools(
        self, view: View, longest: FloatArray, by_length: IntArray, group: IntArray, point: FloatArray
    ) -> tuple[int, int]:
        """Return how many groups to isolate, and on how many instances."""
        count, candidates = len(view.cluster), int(len(longest) * self.excess / (1 + self.excess))
        if not candidates or count == 1 or longest[0] == longest[-1]:
            return 0, 0
        marginal = marginal_seconds(view.cluster.instances[view.cluster.by_sequence[0]], len(point))
        rank = np.empty(len(longest), dtype=np.int64)
        rank[by_length] = np.arange(len(longest))
        order = np.argsort(-point, kind="stable")
        lengths, place = point[order], rank[group[order]]
        best = (_pool_seconds(lengths, count, marginal), 0, 0)
        sizes = np.unique(np.linspace(1, candidates, min(candidates, 16)).astype(np.int64))
        for isolated in sizes.tolist():
            tail, bulk = lengths[place < isolated], lengths[place >= isolated]
            low, high = 1, min(count - 1, isolated)
            while low < high:  # more instances for the tail end it earlier, and the bulk later
                middle = (low + high) // 2
                ahead = _pool_seconds(tail, middle, marginal) <= _pool_seconds(bulk, count - middle, marginal)
                low, high = (low, middle) if ahead else (middle + 1, high)
            for reserved in {max(low - 1, 1), low}:
                ends = max(_pool_seconds(tail, reserved, marginal), _pool_seconds(bulk, count - reserved, marginal))
                best = min(best, (ends, isolated, reserved))
        return best[1], best[2]


def _pool_seconds(lengths: FloatArray, instances: int, marginal: FloatArray) -> float:
    """Return the decode time of an instance of a pool that has every so-manyth of these lengths, the longest among them."""
    mine = lengths[::instances]
    return float((mine * marginal[: len(mine)]).sum())
