"""How long a slice of time pays: every request gets so many tokens before any goes beyond them."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.foreseen_end import Slots, expected_end
from makespan.schedulers.lengths_seen import LEAST, Curves
from makespan.schedulers.types import BoolArray, FloatArray, IntArray

TRIED = 12
"""Slices that are compared, evenly spaced in the logarithm of the share of requests that outlast them."""


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Where a stage stands.

    Parameters
    ----------
    curves
        How long requests are.
    slots
        Where they run.
    running, waiting
        Requests with a slot and without, by the tokens that they have generated, on the grid of the curves. Shape (G,).
    again
        Seconds that an instance takes to compute the KV of a request anew that has generated so many. Shape (G,).
    """

    curves: Curves
    slots: Slots
    running: FloatArray
    waiting: FloatArray
    again: FloatArray

    def slices(self) -> IntArray:
        """Return the points of the grid that are tried for a slice; 0, the first, is for none."""
        outlast = self.curves.beyond.mean(axis=0)
        few = 0.5 * self.slots.count / (self.running.sum() + self.waiting.sum())
        points = np.unique(np.searchsorted(-outlast, -np.geomspace(0.85, min(few, 0.85), TRIED)))
        return np.append(0, points[(points > 0) & (points < len(outlast) - 1)])

    def seconds(self, points: IntArray) -> FloatArray:
        """Return the mean seconds to the end with each of these slices, for each way of the curves. Shape (W, C)."""
        below = np.arange(len(self.running)) < points[:, None]
        young = (below * self.waiting).sum(axis=1)
        displaced = np.minimum(young, (~below * self.running).sum(axis=1))
        everyone = (below * (self.running + self.waiting)).sum(axis=1)
        first, later, work, again = self._phases(points, below)
        again = displaced + again * np.maximum(1 - self.slots.count / np.maximum(everyone, 1.0), 0.0)
        for c in np.flatnonzero(everyone < self.slots.count).tolist():
            first[:, c], later[:, c] = self._exchanged(below[c], float(displaced[c]))
            work[:, c], again[:, c] = 0.0, displaced[c]
        seconds = work * self.slots.full + expected_end(self.curves, self.slots, first, later)
        seconds += again * self.again[points] / self.slots.instances
        # Where a slice outlasts the queue nobody is interrupted any more: it is as the longest that does not.
        short = (first + later).sum(axis=2) < self.slots.count
        for c in np.flatnonzero(everyone >= self.slots.count).tolist():
            seconds[short[:, c], c] = seconds[short[:, c], max(c - 1, 0)]
        return seconds

    def _phases(self, points: IntArray, below: BoolArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return who runs and who follows once all have had their slice, what that takes, and how many of them outlast it.

        While they get it all slots are busy; then the rest goes on in any order.
        """
        beyond, area = np.maximum(self.curves.beyond, LEAST), self.curves.area
        everyone = self.running + self.waiting
        left = below * everyone / beyond[:, None, :]
        work = (left * (area[:, points, None] - area[:, None, :])).sum(axis=2)
        outlast = left.sum(axis=2) * beyond[:, points]
        here = np.arange(len(everyone)) == points[:, None]
        then = np.where(below, 0.0, everyone) + outlast[..., None] * here
        share = np.minimum(self.slots.count / np.maximum(then.sum(axis=2, keepdims=True), LEAST), 1.0)
        return then * share, then * (1 - share), work, outlast

    def _exchanged(self, below: BoolArray, displaced: float) -> tuple[FloatArray, FloatArray]:
        """Return who runs and who follows where few are below the slice: they take places of those with least to come."""
        order = np.argsort(self.curves.mean_left, kind="stable")
        old = np.where(below, 0.0, self.running)[order]
        out = np.zeros(len(old))
        out[order] = np.clip(displaced - (np.cumsum(old) - old), 0.0, old)
        new = np.where(below, self.waiting, 0.0) if displaced else np.zeros(len(old))
        return self.running - out + new, self.waiting - new + out


def paying_slice(standing: Standing, margin: float) -> float:
    """Return the slice with which the stage ends first, if it saves `margin` of the time left; 0 for none.

    It must not lose in whatever way the curves go on: what lies beyond the lengths seen decides whether slices pay, so that
    they wait until enough has been seen.
    """
    points = standing.slices()
    seconds = standing.seconds(points)
    # In shares of the time without slices, so that no way counts more for being longer.
    shares = seconds / seconds[:, :1]
    mean = np.where(shares.max(axis=0) < 1, shares.mean(axis=0), 1.0)
    best = int(mean.argmin())
    return float(standing.curves.tokens[points[best]]) if mean[best] < 1 - margin else 0.0
