"""RLHFuse's migration: the last requests are brought together on few instances, the others are free (NSDI 2025)."""

from dataclasses import dataclass
from heapq import heapify, heapreplace
from math import ceil

import numpy as np

from makespan.schedulers.decode_time import flat_batch, halfway_context
from makespan.schedulers.instances import BLOCK_TOKENS
from makespan.schedulers.parts import Moves
from makespan.schedulers.view import NOWHERE, QUEUED, RUNNING, View


@dataclass(frozen=True, slots=True)
class ConsolidateTail:
    """Once at most ``R_t = share * requests`` are unfinished, move them to as few instances as hold them all.

    Parameters
    ----------
    share
        R_t over the number of requests. The paper finds it by simulating 5 % to 95 % with measured lengths and the
        inference stage that the freed instances would run; the value it ends at is not given.
    rise
        The saturation batch BS_max is the largest at which a step takes at most this many times that of one request, both
        halfway to the cap. The paper profiles where latency rises; the factor is ours.

    Notes
    -----
    arXiv 2409.13221, section on inter-stage fusion: ``m >= max(R_t / BS_max, R_t * M / C)`` destinations, with M the KV of a
    request as long as it may become and C that of an instance; they are the m instances with the most unfinished requests.
    Which of them takes which request is not given: each goes to the one that then has the fewest. KV is moved or recomputed,
    as the engine does it.
    """

    share: float = 0.2
    rise: float = 1.25

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"the share of unfinished requests must lie above 0 and not above 1, got {self.share}")
        if not self.rise >= 1:
            raise ValueError(f"the rise of the step time must be at least 1, got {self.rise}")

    def move(self, view: View) -> Moves:
        """Return where the requests of the instances that are given up go."""
        threshold = int(self.share * len(view.requests))
        if not 0 < int(view.in_flight.sum()) <= threshold or not view.arrived.all():
            return Moves.none()
        if (~view.ended & (view.instance == NOWHERE)).any():
            return Moves.none()
        kept = self.destinations(view, threshold)
        if int((view.in_flight > 0).sum()) <= kept:
            return Moves.none()
        order = view.cluster.by_sequence
        most_first = order[np.argsort(-view.in_flight[order], kind="stable")]
        given_up = np.zeros(len(order), dtype=np.bool_)
        given_up[most_first[kept:]] = True
        inside = (view.state == QUEUED) | (view.state == RUNNING)
        rows = np.flatnonzero(inside & given_up[view.instance])
        rows = rows[np.argsort(view.requests.sequence[rows])]
        heap = [(int(view.in_flight[i]), turn, int(i)) for turn, i in enumerate(most_first[:kept])]
        heapify(heap)
        targets = []
        for _ in rows:
            requests, turn, i = heap[0]
            targets.append(i)
            heapreplace(heap, (requests + 1, turn, i))
        return Moves(rows, np.array(targets, dtype=np.int64))

    def destinations(self, view: View, threshold: int) -> int:
        """Return m, at most all instances; where they differ, the smallest batch and capacity count."""
        context = halfway_context(view.requests)
        batch = min(flat_batch(i, self.rise, context) for i in set(view.cluster))
        longest = int((view.requests.prompt_tokens + view.requests.max_new_tokens).max())
        capacity = int(view.cluster.kv_blocks.min()) * BLOCK_TOKENS
        return min(len(view.cluster), max(1, ceil(threshold / batch), ceil(threshold * longest / capacity)))
