"""Laminar's dynamic repack: leftovers of draining instances are packed together (EuroSys 2026)."""

from dataclasses import dataclass, replace

import numpy as np

from makespan.schedulers.decode_time import flat_batch, halfway_context
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
        The roofline batch B is the largest at which a step takes at most this many times that of one request, both halfway
        to the cap. The paper derives B from the roofline; the factor is ours.
    left
        An instance whose KV is past its peak is taken to have at most this share of its requests left. The paper compares
        the KV in use with that of the look before, which a part without memory cannot; with requests that start together,
        KV is largest when about half of them have ended.

    Notes
    -----
    arXiv 2510.12633, section 5. Candidates have fewer than B requests and are ramping down: nothing waits for them and their
    KV is past its peak. The emptiest goes first. What an instance that is freed does then (take newer weights, and fresh
    prompts) lies outside one stage.
    """

    every_s: float = 5.0
    rise: float = 1.25
    left: float = 0.5

    def __post_init__(self) -> None:
        if not self.every_s > 0:
            raise ValueError(f"the seconds between two repacks must be positive, got {self.every_s}")
        if not self.rise >= 1:
            raise ValueError(f"the rise of the step time must be at least 1, got {self.rise}")
        if not 0 < self.left <= 1:
            raise ValueError(f"the share of requests left must lie above 0 and not above 1, got {self.left}")

    def move(self, view: View) -> Moves:
        """Return the moves that empty as many candidates as fit into others."""
        # An instance that has drained this far is below B in almost all of a stage's looks, so B is asked for last.
        given = np.bincount(view.instance[view.instance != NOWHERE], minlength=len(view.cluster))
        drained = (view.in_flight > 0) & (view.in_flight <= self.left * given) & (view.queued == 0)
        if drained.sum() < 2 or not (view.arrived & (view.ended | (view.instance != NOWHERE))).all():
            return Moves.none()
        context = halfway_context(view.requests)
        kinds = {replace(i, sequence=0) for i in view.cluster}
        flat = {i: flat_batch(i, self.rise, context) for i in kinds}
        roofline = np.array([flat[replace(i, sequence=0)] for i in view.cluster], dtype=np.int64)
        candidates = np.flatnonzero(drained & (view.in_flight < roofline))
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
