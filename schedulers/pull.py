"""Late binding: requests wait with the dispatcher and an instance takes one when it has room."""

from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import ClassVar

import numpy as np

from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class Pull:
    """The next request in order goes to the emptiest instance that can admit it; the rest is held.

    An instance can admit a request when nothing waits inside it, it has a free slot and its free KV blocks hold the
    request as it stands: the rule by which vLLM admits.
    """

    work_conserving: ClassVar[bool] = True

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return instances for as many of `rows` as can start now."""
        order, limit = view.cluster.by_sequence, view.cluster.max_batch
        slots = ((view.queued == 0) * (limit - view.in_flight))[order]
        open_turns = np.flatnonzero(slots > 0)
        if not len(open_turns):
            return np.empty(0, dtype=np.int64)
        instances = order[open_turns]
        # Mostly one instance has one free slot, and numbers in lists are quicker than columns of one row.
        where = dict(zip(open_turns.tolist(), instances.tolist(), strict=True))
        free = dict(zip(where, (view.cluster.kv_blocks - view.kv_blocks_used)[instances].tolist(), strict=True))
        heap = list(zip(view.in_flight[instances].tolist(), where, strict=True))
        heapify(heap)
        chosen: list[int] = []
        for row in rows[: sum(slots[open_turns].tolist())].tolist():
            blocks = view.blocks_to_start(row)
            while heap and free[heap[0][1]] < blocks:
                heappop(heap)
            if not heap:
                break
            load, turn = heap[0]
            chosen.append(where[turn])
            free[turn] -= blocks
            if load + 1 < limit[where[turn]]:
                heapreplace(heap, (load + 1, turn))
            else:
                heappop(heap)
        return np.array(chosen, dtype=np.int64)
