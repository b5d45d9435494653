"""What is believed to remain of each request, given what it has generated."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.draws import uniform
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View

_SHARES = (np.arange(8) + 0.5) / 8
"""Survival shares at the middles of equal strata, over which a mean is taken."""

UNSTATED_SPREAD = 1.0
"""Spread of beliefs that come without quantiles: nine in ten lie within a factor of nineteen of the median."""

RARE = 0.002
"""What may well remain of a request is what one in five hundred like it exceeds."""

UNSTATED_SHARE_OF_CAP = 0.25
"""Mean of beliefs that come without quantiles, whose scale may be any: only their order is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """Log-logistic beliefs about whole lengths, of which something is behind.

    With median m and spread s a length exceeds x with chance ``1 / (1 + (x / m) ** (1 / s))``, so that of those
    that exceed g the share u exceeds ``m * ((1 - u * S) / (u * S)) ** s`` with S the chance to exceed g.

    Parameters
    ----------
    median, spread
        Of each whole length; a spread of 0 is certainty. Shape (k,).
    generated, left
        Tokens behind, and tokens up to the cap, at least 1. Shape (k,).
    beyond
        The chance S. Shape (k,).
    """

    median: FloatArray
    spread: FloatArray
    generated: FloatArray
    left: FloatArray
    beyond: FloatArray

    @property
    def certain(self) -> bool:
        """Whether nothing is left to chance."""
        return not self.spread.any()

    def exceeded_by(self, share: FloatArray | float) -> FloatArray:
        """Return the tokens yet to come that this share of such requests exceeds, shape (k,)."""
        chance = np.clip(share * self.beyond, 1e-15, 1 - 1e-15)
        whole = self.median * np.exp(self.spread * np.log((1 - chance) / chance))
        left: FloatArray = np.clip(whole - self.generated, 1.0, self.left)
        return left

    def potential(self) -> FloatArray:
        """Return the tokens that may well be yet to come, shape (k,)."""
        if self.certain:
            return self.exceeded_by(0.5)
        return self.exceeded_by(RARE)

    def mean(self) -> FloatArray:
        """Return the expected tokens yet to come, shape (k,)."""
        if self.certain:
            return self.exceeded_by(0.5)
        mean: FloatArray = np.mean([self.exceeded_by(share) for share in _SHARES], axis=0)
        return mean

    def scenarios(self, sequence: IntArray, count: int) -> FloatArray:
        """Return draws of what may come, shape (`count`, k); a single one where all is certain."""
        if self.certain:
            return self.exceeded_by(0.5)[None, :]
        return np.array([self.exceeded_by(uniform(k, sequence, stream=31)) for k in range(count)])


def told_apart(view: View) -> bool:
    """Return whether requests were told apart before any of them ran, with what that leaves open."""
    return view.estimates.beforehand and view.estimates.quantiles is not None


def believed(view: View, rows: IntArray) -> Belief:
    """Return what is believed about `rows`, which have not ended."""
    generated = view.generated[rows].astype(np.float64)
    left = np.maximum(view.requests.max_new_tokens[rows] - generated, 1.0)
    median, spread = _median_and_spread(view)
    median, spread = median[rows], spread[rows]
    steepness = 1 / np.maximum(spread, 1e-2)
    odds = np.exp(np.minimum(np.log(np.maximum(generated, 1e-3) / median) * steepness, 500.0))
    return Belief(median, spread, generated, left, np.where((spread > 0) & (generated > 0), 1 / (1 + odds), 1.0))


def _median_and_spread(view: View) -> tuple[FloatArray, FloatArray]:
    """Return the median of every belief and the spread of its logarithm."""
    estimates = view.estimates
    if estimates.quantiles is None:
        scale = UNSTATED_SHARE_OF_CAP * float(view.requests.max_new_tokens.mean()) / float(np.sort(estimates.point).mean())
        return np.maximum(estimates.point * scale, 1.0), np.full(len(estimates.point), UNSTATED_SPREAD)
    levels = np.array(estimates.levels)
    high, middle = int(levels.argmax()), int(np.abs(levels - 0.5).argmin())
    median = np.maximum(estimates.quantiles[:, middle], 1.0)
    if high == middle:
        return median, np.zeros(len(median))
    scale = np.log(levels[high] / (1 - levels[high])) - np.log(levels[middle] / (1 - levels[middle]))
    return median, np.maximum(np.log(np.maximum(estimates.quantiles[:, high], 1.0) / median) / scale, 0.0)
