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
        order = view.cluster.by_sequence
        open_turns = np.flatnonzero((view.queued[order] == 0) & (view.in_flight[order] < view.cluster.max_batch[order]))
        instances = order[open_turns]
        slots = int((view.cluster.max_batch[instances] - view.in_flight[instances]).sum())
        heap = list(zip(view.in_flight[instances].tolist(), open_turns.tolist(), strict=True))
        heapify(heap)
        free = view.cluster.kv_blocks - view.kv_blocks_used
        chosen: list[int] = []
        for row in rows[:slots].tolist():
            blocks = view.blocks_to_start(row)
            while heap and free[order[heap[0][1]]] < blocks:
                heappop(heap)
            if not heap:
                break
            load, turn = heap[0]
            instance = int(order[turn])
            chosen.append(instance)
            free[instance] -= blocks
            if load + 1 < view.cluster.max_batch[instance]:
                heapreplace(heap, (load + 1, turn))
            else:
                heappop(heap)
        return np.array(chosen, dtype=np.int64)
