"""When a stage ends on average: by survival curves alone, without drawing."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.lengths_seen import LEAST, Curves
from makespan.schedulers.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """Where requests run: as many at once as there are slots, on so many equal instances.

    Parameters
    ----------
    count
        Requests that run at once while others wait.
    instances
        Between how many instances they are shared.
    step
        Step time at 0 … B requests on one instance. Shape (B + 1,).
    """

    count: int
    instances: int
    step: FloatArray

    @property
    def full(self) -> float:
        """Seconds for a token that a slot generates while all are taken, shared by all slots."""
        return float(self.step[-1]) / self.count

    def step_of(self, alive: FloatArray) -> FloatArray:
        """Return the step time where so many requests run on all instances together."""
        seconds: FloatArray = np.interp(alive / self.instances, np.arange(1, len(self.step)), self.step[1:])
        return seconds


def expected_end(curves: Curves, slots: Slots, first: FloatArray, later: FloatArray) -> FloatArray:
    """Return the mean seconds to the end where `first` run to their ends and `later` follow as slots become free.

    Parameters
    ----------
    curves, slots
        How long requests are, and where they run.
    first, later
        Requests by the tokens that they have generated, on the grid of the curves, for C ways to go on. Shape (W, C, G).

    Returns
    -------
    Shape (W, C).

    Notes
    -----
    Requests that follow one another start about evenly until the last one starts, which is when no more are there than there
    are slots. From then on each is still there with a known chance, independently of the others, so that the chance that
    nobody is left is a product, and the mean of the maximum an integral over it. Batches shrink by the mean number there.
    """
    tokens, left = curves.tokens, curves.residual
    queue = later.sum(axis=2, keepdims=True)
    running = first @ left
    chance = later @ left / np.maximum(queue, LEAST)
    served = np.zeros_like(chance)
    np.cumsum((chance[..., 1:] + chance[..., :-1]) / 2 * np.diff(tokens), axis=2, out=served[..., 1:])
    there = running[..., 1:] + queue * served[..., 1:] / tokens[1:]
    start = np.where(queue > 0.01, _last_start(tokens[1:], there, queue * served[..., -1:], slots.count), 0.0)
    at, part = curves.between(start + tokens)
    # Over the moments at which it may have started, each of the later ones is there with the mean of its chances.
    waited = np.clip((_mixed(served, at, part, served[..., -1:]) - served) / np.maximum(start, LEAST), 0.0, 1 - LEAST)
    waited = np.where(start > 0, waited, 0.0)
    nobody = _mixed(first @ np.log1p(-np.minimum(left, 1 - LEAST)), at, part, 0.0) + queue * np.log1p(-waited)
    alive = _mixed(running, at, part, 0.0) + queue * waited
    pace = -np.expm1(nobody) * slots.step_of(alive)
    after = ((pace[..., 1:] + pace[..., :-1]) / 2 * np.diff(tokens)).sum(axis=2)
    end: FloatArray = start[..., 0] * slots.step[-1] + after
    return end


def _last_start(moments: FloatArray, there: FloatArray, work: FloatArray, slots: int) -> FloatArray:
    """Return when only as many are there as there are slots, shape (W, C, 1).

    `there`, shape (W, C, G - 1), falls: how many would be there at each moment if all had started by then.
    """
    after = np.minimum((there > slots).sum(axis=2, keepdims=True), len(moments) - 1)
    before = np.maximum(after - 1, 0)
    high, low = np.take_along_axis(there, before, axis=2), np.take_along_axis(there, after, axis=2)
    part = np.clip((high - slots) / np.maximum(high - low, LEAST), 0.0, 1.0)
    inside = np.where(after == 0, 0.0, moments[before] * (1 - part) + moments[after] * part)
    start: FloatArray = np.where(there[..., -1:] > slots, work / slots, inside)
    return start


def _mixed(values: FloatArray, at: IntArray, part: FloatArray, afterwards: FloatArray | float) -> FloatArray:
    """Return values between points of the grid, and beyond its last what comes afterwards."""
    low, high = np.take_along_axis(values, at, axis=2), np.take_along_axis(values, at + 1, axis=2)
    mixed: FloatArray = np.where(part >= 1, afterwards, low + (high - low) * part)
    return mixed
