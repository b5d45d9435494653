"""Distributions of output length on a grid, and what they say about a request that has already generated something."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from makespan.ranker.capped_grid import CappedGrid
from makespan.schedulers.types import FloatArray, IntArray


def kaplan_meier(
    ended: FloatArray, at_risk: FloatArray, prior: FloatArray | float = 0.0, weight: FloatArray | float = 0.0
) -> FloatArray:
    """Return the hazard of every bin: of the requests that reach it, the share that end in it. Shape (..., B).

    The product-limit estimator of Kaplan and Meier (J. Am. Stat. Assoc. 1958) on a grid. With a weight it is the mean of
    the posterior under a beta process (Hjort, Ann. Stat. 1990): as if `weight` more requests had been seen that end as the
    prior says. Bins that nothing has reached, and that no prior covers, have hazard 0.

    Parameters
    ----------
    ended, at_risk
        How many requests ended in each bin, and how many reached it. Shape (..., B).
    prior
        Hazard of each bin before anything was seen.
    weight
        How many of the requests that reach a bin the prior counts for.
    """
    reached = at_risk + weight
    hazard: FloatArray = np.divide(ended + weight * prior, reached, out=np.zeros_like(reached), where=reached > 0)
    return hazard


@dataclass(frozen=True, eq=False)
class Lifetimes:
    """Several distributions of length.

    Parameters
    ----------
    grid
        The bins; within one all lengths are equally likely.
    mass
        Probability of each bin, shape (D, B).
    """

    grid: CappedGrid
    mass: FloatArray

    @classmethod
    def of_hazards(cls, grid: CappedGrid, hazard: FloatArray) -> Self:
        """Build from hazards, shape (D, B); what survives all bins before it ends at the cap."""
        hazard = hazard.copy()
        hazard[:, -1] = 1.0
        reached = np.ones_like(hazard)
        np.cumprod(1 - hazard[:, :-1], axis=1, out=reached[:, 1:])
        return cls(grid, reached * hazard)

    @cached_property
    def reached(self) -> FloatArray:
        """Probability of each bin or a later one; a column of zeros follows the last. Shape (D, B + 1)."""
        return _tails(self.mass)

    def expected(self, which: IntArray, generated: IntArray, cap: int) -> FloatArray:
        """Return the mean total length, cut at `cap`, of requests that have generated so much and not ended. Shape (k,).

        Parameters
        ----------
        which
            The distribution of each request, shape (k,).
        generated
            Tokens each has generated, less than `cap`. Shape (k,).
        cap
            The most that each may generate.
        """
        bins, left = self._left(which, generated)
        beyond = _tails(self.mass * np.minimum(self.grid.middle, cap))
        own = np.minimum((generated + self.grid.after[bins]) / 2, cap)
        total = left + self.reached[which, bins + 1]
        tokens = beyond[which, bins + 1] + left * own
        mean = np.divide(tokens, total, out=np.full(len(bins), float(cap)), where=total > 0)
        expected: FloatArray = np.clip(mean, generated + 1, cap)
        return expected

    def quantiles(self, which: IntArray, generated: IntArray, cap: int, levels: tuple[float, ...]) -> FloatArray:
        """Return quantiles of the same total length, shape (k, len(levels)); parameters as for `expected`."""
        bins, left = self._left(which, generated)
        size = self.mass.shape[1]
        # One sorted array of all distributions, each lifted above the one before.
        below = 1 - self.reached[:, 1:]
        lifted = (below + 2 * np.arange(len(below))[:, None]).ravel()
        total = left + self.reached[which, bins + 1]
        found = np.empty((len(bins), len(levels)))
        for column, level in enumerate(levels):
            target = 1 - total * (1 - level)
            at = np.searchsorted(lifted, target + 2 * which) - size * which
            at = np.clip(at, bins, size - 1)
            inside = np.divide(
                target - (1 - self.reached[which, at]),
                self.mass[which, at],
                out=np.ones(len(at)),
                where=self.mass[which, at] > 0,
            )
            first, after = self.grid.first[at], self.grid.after[at]
            found[:, column] = first + np.clip(inside, 0, 1) * (after - 1 - first)
        quantiles: FloatArray = np.clip(found, generated[:, None] + 1, cap)
        return quantiles

    def _left(self, which: IntArray, generated: IntArray) -> tuple[IntArray, FloatArray]:
        """Return the bin of each request, and how probable what remains of that bin is."""
        bins = self.grid.of(generated)
        left: FloatArray = self.mass[which, bins] * (1 - self.grid.survived(generated, bins))
        return bins, left


def _tails(mass: FloatArray) -> FloatArray:
    tails = np.zeros((len(mass), mass.shape[1] + 1))
    tails[:, :-1] = np.cumsum(mass[:, ::-1], axis=1)[:, ::-1]
    return tails
