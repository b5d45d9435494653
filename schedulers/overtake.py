"""Time slices for what may still be long: our own preemption."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.finish_model import models_of
from makespan.schedulers.parts import HOLD, Moves
from makespan.schedulers.remaining import believed, told_apart
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import NOWHERE, OUTSIDE, RUNNING, View

ENOUGH = 16
"""Requests that must have ended before their mean says anything."""


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
    """Let a waiting request that may still be long take the slot of one that can no more be as long.

    What makes a stage end late is a long request that nobody knew for one and that was started late. Where more requests
    wait than there are slots and nothing tells them apart, each is given a slice of time early, until it has shown how
    little can remain of it. A slice is so long that computing the KV anew takes at most `overhead` of it, less where the
    longest that may remain is short beside all that is left.

    Parameters
    ----------
    overhead
        Largest share of an instance's time that may go into computing again what it had computed.
    """

    overhead: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.overhead <= 1:
            raise ValueError(f"the overhead of time slices must lie between 0 and 1, got {self.overhead}")

    def move(self, view: View) -> Moves:
        """Return the running requests to take back, as many as waiting ones should have their slots."""
        sequence = view.requests.sequence
        waiting = np.flatnonzero(view.arrived & ~view.ended & (view.state == OUTSIDE) & (view.instance == NOWHERE))
        waiting = waiting[np.argsort(sequence[waiting])]
        running = np.flatnonzero(view.state == RUNNING)
        running = running[np.argsort(sequence[running])]
        if not len(waiting) or not len(running) or told_apart(view):
            return Moves.none()
        waits, runs = believed(view, waiting), believed(view, running)
        wanted, has = -np.sort(-waits.potential()), runs.potential()
        if wanted[0] > _length_of_the_stage(view):
            # Whoever is longest sets the end by itself, and must not be interrupted.
            return Moves.none()
        left_per_slot = (waits.mean().sum() + runs.mean().sum()) / view.cluster.slots
        again = self._tokens_to_compute_again(view) / (self.overhead * min(1.0, wanted[0] / left_per_slot))
        until = has + again[view.instance[running]] * (view.requests.prompt_tokens + view.generated)[running]
        least = np.argsort(until, kind="stable")[: len(wanted)]
        taken = least[wanted[: len(least)] > until[least]]
        return Moves(running[taken], np.full(len(taken), HOLD))

    @staticmethod
    def _tokens_to_compute_again(view: View) -> FloatArray:
        """Return for each instance the tokens it could have generated, per slot, while it computes one anew, shape (N,)."""
        return np.array([model.prefill * model.max_batch / model.table[-1] for model in models_of(view.cluster)])


def _length_of_the_stage(view: View) -> float:
    """Return the steps that all requests take one after the other in the slots there are, by the mean of those that ended.

    These are the shorter ones, so that the stage is rather longer.
    """
    ended = view.generated[view.ended]
    return float(ended.mean()) * len(view.requests) / view.cluster.slots if len(ended) >= ENOUGH else 0.0
