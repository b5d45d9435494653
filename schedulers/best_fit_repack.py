"""Laminar's dynamic repack: leftovers of draining instances are packed together (EuroSys 2026)."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.decode_time import flat_batch
from makespan.schedulers.instances import BLOCK_TOKENS
from makespan.schedulers.parts import Moves
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import NOWHERE, QUEUED, RUNNING, View


@dataclass(frozen=True, slots=True)
class BestFitRepack:
    """Move all that an instance has left to another one on which KV and batch still fit, the fullest that does.

    Parameters
    ----------
    every_s
        Seconds between two looks; about 5 in the paper, and one after each update of the weights.
    rise
        The roofline batch B is the largest at which a step takes at most this many times that of one request. The paper
        derives B from the roofline; the factor is ours.

    Notes
    -----
    arXiv 2510.12633, section 5. Candidates have fewer than B requests and are ramping down: nothing waits for them and their
    KV is below its capacity. The paper compares the KV in use with that of the look before, which a part without memory
    cannot; an instance for which nothing waits anywhere can only lose requests. The emptiest goes first. What an instance
    that is freed does then (take newer weights, and fresh prompts) lies outside one stage.
    """

    every_s: float = 5.0
    rise: float = 1.25

    def __post_init__(self) -> None:
        if not self.every_s > 0:
            raise ValueError(f"the seconds between two repacks must be positive, got {self.every_s}")
        if not self.rise >= 1:
            raise ValueError(f"the rise of the step time must be at least 1, got {self.rise}")

    def move(self, view: View) -> Moves:
        """Return the moves that empty as many candidates as fit into others."""
        roofline = np.array([flat_batch(i, self.rise) for i in view.cluster], dtype=np.int64)
        candidates = np.flatnonzero((view.in_flight > 0) & (view.in_flight < roofline) & (view.queued == 0))
        if len(candidates) < 2 or (view.arrived & ~view.ended & (view.instance == NOWHERE)).any():
            return Moves.none()
        rows = np.flatnonzero((view.instance != NOWHERE) & ((view.state == QUEUED) | (view.state == RUNNING)))
        blocks = -(-(view.requests.prompt_tokens + view.generated)[rows] // BLOCK_TOKENS)
        used = np.bincount(view.instance[rows], blocks, len(view.cluster)).astype(np.int64)
        home = self._plan(view, candidates[used[candidates] < view.cluster.kv_blocks[candidates]], used, roofline)
        moved = rows[home[view.instance[rows]] != view.instance[rows]]
        moved = moved[np.argsort(view.requests.sequence[moved])]
        return Moves(moved, home[view.instance[moved]])

    @staticmethod
    def _plan(view: View, candidates: IntArray, used: IntArray, roofline: IntArray) -> IntArray:
        """Return for each instance where its requests go, itself if they stay."""
        home = np.arange(len(view.cluster))
        used, requests = used.copy(), view.in_flight.copy()
        sequence, capacity = view.cluster.sequence, view.cluster.kv_blocks
        for source in candidates[np.lexsort((sequence[candidates], used[candidates]))]:
            others = candidates[(candidates != source) & (home[candidates] == candidates)]
            fits = others[
                (used[others] + used[source] <= capacity[others]) & (requests[others] + requests[source] <= roofline[others])
            ]
            if not len(fits):
                continue
            target = fits[np.lexsort((sequence[fits], -used[fits]))[0]]
            home[home == source] = target
            used[target] += used[source]
            requests[target] += requests[source]
        return home
