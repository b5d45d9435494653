"""Time slices for what may still be long: our own preemption."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.finish_model import models_of
from makespan.schedulers.foreseen_end import Slots
from makespan.schedulers.lengths_seen import Curves, lengths_seen
from makespan.schedulers.parts import HOLD, Moves
from makespan.schedulers.remaining import believed, told_apart
from makespan.schedulers.slices import Standing, paying_slice
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import NOWHERE, OUTSIDE, QUEUED, RUNNING, View

ENOUGH = 16
"""Requests that must have ended before their lengths say anything."""


@dataclass(frozen=True, slots=True)
class LongestPotential:
    """Longest first, by the mean of what remains where lengths are told apart, else by what may well remain.

    Where every request may be as long as the cap, what may remain is the cap less what it has generated: the fewest
    generated go first.
    """

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return minus the tokens that remain."""
        belief = believed(view, rows)
        if told_apart(view):
            return -belief.mean()
        # Many potentials are equal, being cut off at the cap; then the mean decides.
        keys: FloatArray = -(belief.potential() + 1e-3 * belief.mean())
        return keys


@dataclass(frozen=True, slots=True)
class Overtake:
    """Let waiting requests take the slots of those that have had a slice of time, where that ends the stage earlier.

    What makes a stage end late is a long request that nobody knew for one and that was started late. Where more requests
    wait than there are slots and nothing tells them apart, each can be given a slice of time before any goes on beyond it.
    That pays where lengths end at a bound, and costs where a few are far longer than the others and set the end alone. What
    has ended and what runs tell which it is, and how long the slice should be (`paying_slice`).

    Parameters
    ----------
    margin
        Share of the time left that slices must save.
    looks
        It is considered so many times while as many requests end as there are slots, or at every finish.
    """

    margin: float = 0.01
    looks: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1:
            raise ValueError(f"the margin must lie from 0 to 1, got {self.margin}")
        if self.looks < 1:
            raise ValueError(f"slices must be considered at least once, got {self.looks}")

    def move(self, view: View) -> Moves:
        """Return the running requests to take back, as many as waiting ones should have their slots."""
        waiting = np.flatnonzero(view.arrived & ~view.ended & (view.state == OUTSIDE) & (view.instance == NOWHERE))
        inside = np.flatnonzero((view.state == RUNNING) | (view.state == QUEUED))
        running = inside[view.state[inside] == RUNNING]
        ended = int(view.ended.sum())
        if not len(waiting) or not len(running) or told_apart(view):
            return Moves.none()
        if ended < ENOUGH or ended % max(1, len(inside) // self.looks):
            return Moves.none()
        if view.generated[waiting].min() >= view.generated[running].max():
            return Moves.none()
        curves = lengths_seen(view)
        length = paying_slice(_standing(view, curves, inside, waiting), self.margin)
        if not length:
            return Moves.none()
        had_theirs = running[view.generated[running] >= length]
        left = np.interp(view.generated[had_theirs], curves.tokens, curves.mean_left)
        least_left = had_theirs[np.lexsort((view.requests.sequence[had_theirs], left))]
        taken = least_left[: np.count_nonzero(view.generated[waiting] < length)]
        return Moves(taken, np.full(len(taken), HOLD))


def _standing(view: View, curves: Curves, inside: IntArray, waiting: IntArray) -> Standing:
    model = models_of(view.cluster)[int(view.cluster.by_sequence[0])]
    slots = Slots(len(inside), len(view.cluster), model.table)
    again = model.prefill * (float(view.requests.prompt_tokens[inside].mean()) + curves.tokens)
    return Standing(curves, slots, curves.counts(view.generated[inside]), curves.counts(view.generated[waiting]), again)
