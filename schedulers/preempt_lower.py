"""Preemptive priority: what waits and goes before something that runs takes its place."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.parts import HOLD, Moves, Order
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import NOWHERE, OUTSIDE, QUEUED, RUNNING, View


@dataclass(frozen=True, slots=True)
class PreemptLower:
    """Send back the last running requests by an order while as many that wait go before them.

    What waits for one instance takes a place there, what waits with the dispatcher takes one anywhere; what finds a free
    slot needs nobody's. A request that is sent back keeps its tokens and is placed anew.

    Parameters
    ----------
    order
        Whose keys are compared. One whose keys change while a request runs, such as what remains of it, would preempt
        without end; the whole length that is believed does not.

    Notes
    -----
    Heddle's progressive priority scheduling (arXiv 2603.28101): the longest that waits interrupts the shortest that runs.
    vllm-ltr (arXiv 2408.15792): at every iteration the first by score run, whoever ran before. Heddle keeps the KV of what
    it interrupts and vllm-ltr swaps it; here it is moved or recomputed, as the engine does it.
    """

    order: Order

    def move(self, view: View) -> Moves:
        """Return what is sent back."""
        waits = view.arrived & ((view.state == QUEUED) | ((view.state == OUTSIDE) & ~view.ended))
        waiting, running = np.flatnonzero(waits), np.flatnonzero(view.state == RUNNING)
        if not len(waiting) or not len(running):
            return Moves.none()
        ahead, behind = self.order.keys(view, waiting), self.order.keys(view, running)
        if ahead.min() >= behind.max():
            return Moves.none()
        waiting = waiting[ahead < behind.max()]
        running = running[behind > ahead.min()]
        free = view.cluster.max_batch - view.running
        back: list[int] = []
        for instance in view.cluster.by_sequence[np.isin(view.cluster.by_sequence, view.instance[waiting])]:
            here = running[view.instance[running] == instance]
            back += self._outranked(view, waiting[view.instance[waiting] == instance], here, int(free[instance]))
        left = running[~np.isin(running, np.array(back, dtype=np.int64))]
        back += self._outranked(view, waiting[view.instance[waiting] == NOWHERE], left, 0)
        rows = np.array(back, dtype=np.int64)
        return Moves(rows, np.full(len(rows), HOLD, dtype=np.int64))

    def _outranked(self, view: View, waiting: IntArray, running: IntArray, free: int) -> list[int]:
        """Return as many of `running`, the last first, as there are pairs in which one that waits goes before.

        The first `free` that wait have a slot.
        """
        first = np.sort(self.order.keys(view, waiting))[free:]
        keys = self.order.keys(view, running)
        last_first = running[np.lexsort((-view.requests.sequence[running], -keys))]
        last = np.sort(keys)[::-1]
        pairs = min(len(first), len(last))
        # Keys of those that wait rise and keys of those that run fall, so the pairs come first.
        count = int((first[:pairs] < last[:pairs]).sum())
        outranked: list[int] = last_first[:count].tolist()
        return outranked
