"""Rebalances: which requests change their instance."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.parts import Moves
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import QUEUED, View


@dataclass(frozen=True, slots=True)
class Stay:
    """Nothing moves."""

    def move(self, view: View) -> Moves:
        """Return no moves."""
        return Moves.none()


@dataclass(frozen=True, slots=True)
class StealQueued:
    """Work stealing: an instance with nothing queued and a free slot takes requests that wait inside another.

    Only requests that have not started move, so nothing is recomputed. The victim is the instance with the longest
    queue; what leaves it is what would have run there last (Blumofe and Leiserson, JACM 1999).
    """

    def move(self, view: View) -> Moves:
        """Return one request for each free slot, as long as some queue is not empty."""
        if not (view.queued > 0).any():
            return Moves.none()
        room = np.where(view.queued == 0, view.cluster.max_batch - view.in_flight, 0)
        if not (room > 0).any():
            return Moves.none()
        queued = view.queued.copy()
        last_first = _last_queued_first(view)
        rows: list[int] = []
        targets: list[int] = []
        for thief in view.cluster.by_sequence:
            for _ in range(int(room[thief])):
                victim = int(view.cluster.by_sequence[queued[view.cluster.by_sequence].argmax()])
                if queued[victim] == 0:
                    break
                mine = last_first[view.instance[last_first] == victim]
                row = int(mine[view.queued[victim] - queued[victim]])
                queued[victim] -= 1
                rows.append(row)
                targets.append(int(thief))
        return Moves(np.array(rows, dtype=np.int64), np.array(targets, dtype=np.int64))


def _last_queued_first(view: View) -> IntArray:
    waiting = np.flatnonzero(view.state == QUEUED)
    order = np.lexsort((-view.requests.sequence[waiting], view.estimates.point[waiting]))
    ordered: IntArray = waiting[order]
    return ordered
