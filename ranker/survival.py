"""What remains of each request by the requests of this stage alone: no training, no history, no text.

All that have finished, and all that still run and so are longer than what they have generated (censored), give the
distribution of lengths by Kaplan and Meier. A group is a draw around that distribution: its own evidence counts beside
`concentration` requests of the pool, the Dirichlet process with censored data of Susarla and Van Ryzin (J. Am. Stat. Assoc.
1976). How alike siblings are, which sets the concentration, is itself read from those that have been seen.
"""

from dataclasses import dataclass, field

import numpy as np

from makespan.ranker.capped_grid import CappedGrid
from makespan.ranker.lifetimes import Lifetimes, kaplan_meier
from makespan.ranker.renewal import Renewal
from makespan.schedulers.estimates import Estimates, Finished
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import BoolArray, FloatArray, IntArray

LEVELS = (0.1, 0.5, 0.9)
CONCENTRATIONS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0)
USUAL_CONCENTRATION = 2.0

# Log standard deviation of siblings around a finished one.
_SPREAD = 0.4

# Multiples of this add up without rounding, so that no sum depends on the order of its terms.
_EXACT = 2.0**-32


@dataclass(slots=True, eq=False)
class Survival:
    """An information source that learns from every finish and from every token of this stage, and needs nothing else.

    Its points are expected total lengths given what each request has generated; its quantiles, at `LEVELS`, are those of
    the same total, so that less the tokens generated they are those of what remains. A finished request has its length.

    Parameters
    ----------
    requests
        What is asked for.
    """

    requests: Requests
    _grid: CappedGrid = field(init=False)
    _group: IntArray = field(init=False)
    _kernel: FloatArray = field(init=False)
    _kernel_reached: FloatArray = field(init=False)
    _counts: IntArray = field(init=False)
    _ended: FloatArray = field(init=False)
    _at_risk: FloatArray = field(init=False)
    _cut: IntArray = field(init=False)
    _length: IntArray = field(init=False)
    _generated: IntArray = field(init=False)
    _new: list[IntArray] = field(init=False, default_factory=list)
    _renewal: Renewal = field(init=False)
    _estimates: Estimates | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        count = len(self.requests)
        self._grid = CappedGrid(int(self.requests.max_new_tokens.max()))
        groups, self._group = np.unique(self.requests.group, return_inverse=True)
        self._kernel = likely_siblings(self._grid, _SPREAD)
        self._kernel_reached = np.ascontiguousarray(np.cumsum(self._kernel[:, ::-1], axis=1)[:, ::-1])
        shape = (len(groups), len(self._grid))
        self._counts = np.zeros(shape, dtype=np.int64)
        self._cut = np.zeros(shape, dtype=np.int64)
        self._ended, self._at_risk = np.zeros(shape), np.zeros(shape)
        self._length = np.zeros(count, dtype=np.int64)
        self._generated = np.zeros(count, dtype=np.int64)
        self._renewal = Renewal(count)

    def observe(self, event: Finished) -> None:
        """Take note of requests that have finished."""
        self._length[event.rows] = event.output_tokens
        self._new.append(event.rows)
        self._renewal.finished(len(event.rows))

    def watch(self, generated: IntArray) -> None:
        """Take note of how many tokens each request has generated so far, shape (n,)."""
        self._generated = generated

    def estimate(self, requests: Requests) -> Estimates:
        """Return what is believed; the same object until there is enough news."""
        if self._renewal.due(self._generated) or self._estimates is None:
            self._estimates = self._renewed()
        return self._estimates

    def _renewed(self) -> Estimates:
        self._add_finished()
        unfinished = self._length == 0
        running = np.flatnonzero(unfinished & (self._generated > 0))
        generated = np.minimum(self._generated[running], self.requests.max_new_tokens[running] - 1)
        censored, left_off = self._censored(running, generated)
        prior = self._pool(censored)
        pool = Lifetimes.of_hazards(self._grid, prior[None])
        weight = self._concentration(pool, left_off) * pool.reached[0, :-1]
        hazard = kaplan_meier(self._ended, self._at_risk + censored, prior, weight)
        return self._estimates_of(Lifetimes.of_hazards(self._grid, hazard), unfinished)

    def _add_finished(self) -> None:
        """Add what has finished to its groups; a request cut off at a cap of its own says only that it is that long."""
        rows = np.concatenate(self._new) if self._new else np.empty(0, dtype=np.int64)
        self._new.clear()
        groups, bins = self._group[rows], self._grid.of(self._length[rows])
        cut = (self._length[rows] >= self.requests.max_new_tokens[rows]) & (self._length[rows] < self._grid.cap)
        np.add.at(self._cut, (groups[cut], bins[cut]), 1)
        groups, bins = groups[~cut], bins[~cut]
        np.add.at(self._counts, (groups, bins), 1)
        np.add.at(self._ended, groups, self._kernel[bins])
        np.add.at(self._at_risk, groups, self._kernel_reached[bins])

    def _censored(self, running: IntArray, generated: IntArray) -> tuple[FloatArray, IntArray]:
        """Return how many of each group survived each bin without ending, and how many left off in each. (G, B) both."""
        bins, shape = self._grid.of(generated), self._cut.shape
        flat = self._group[running] * shape[1] + bins
        left_off = self._cut + np.bincount(flat, minlength=self._cut.size).reshape(shape)
        share = np.round(self._grid.survived(generated, bins) / _EXACT) * _EXACT
        inside = self._cut + np.bincount(flat, weights=share, minlength=self._cut.size).reshape(shape)
        beyond = np.cumsum(left_off[:, ::-1], axis=1)[:, ::-1] - left_off
        censored: FloatArray = beyond + inside
        return censored, left_off

    def _pool(self, censored: FloatArray) -> FloatArray:
        """Return the hazards of all groups together, shape (B,); one more request stands for what was not seen."""
        ended = self._counts.sum(axis=0).astype(np.float64)
        at_risk = np.cumsum(ended[::-1])[::-1] + censored.sum(axis=0)
        # Beyond the longest seen it goes on as it did from the median on: a power law.
        middle = int(np.searchsorted(np.cumsum(ended), ended.sum() / 2))
        even = (ended[middle:-1].sum() + 1) / (at_risk[middle:-1].sum() + len(self._grid))
        return kaplan_meier(ended, at_risk, even, 1.0)

    def _concentration(self, pool: Lifetimes, left_off: IntArray) -> float:
        """Return how many requests of the pool weigh as much as a group's own, by what siblings say about each other.

        Each request is foretold from its finished siblings and the pool; the likelihood also counts those that run, since
        siblings that finish first are alike for being short.
        """
        finished = self._counts.sum(axis=1)
        of_two, bins = np.nonzero(self._counts * (finished > 1)[:, None])
        of_one, off = np.nonzero(left_off * (finished > 0)[:, None])
        if not len(of_two):
            return USUAL_CONCENTRATION
        siblings = self._ended[of_two, bins] - self._kernel[bins, bins]
        longer = np.maximum(self._at_risk[of_one, off] - self._ended[of_one, off], 0.0)
        best, most = USUAL_CONCENTRATION, -np.inf
        for c in CONCENTRATIONS:
            ended = np.log((c * pool.mass[0, bins] + siblings) / (c + finished[of_two] - 1))
            beyond = np.log((c * pool.reached[0, off + 1] + longer) / (c + finished[of_one]))
            said = np.sort(np.append(ended * self._counts[of_two, bins], beyond * left_off[of_one, off]))
            likelihood = float(said.sum()) - 0.5 * np.log(c / USUAL_CONCENTRATION) ** 2
            if likelihood > most:
                best, most = c, likelihood
        return best

    def _estimates_of(self, lifetimes: Lifetimes, unfinished: BoolArray) -> Estimates:
        count = len(self.requests)
        point, quantiles = self._length.astype(np.float64), np.empty((count, len(LEVELS)))
        quantiles[:] = point[:, None]
        for cap in np.unique(self.requests.max_new_tokens).tolist():
            rows = np.flatnonzero(unfinished & (self.requests.max_new_tokens == cap))
            generated = np.minimum(self._generated[rows], cap - 1)
            point[rows] = lifetimes.expected(self._group[rows], generated, cap)
            quantiles[rows] = lifetimes.quantiles(self._group[rows], generated, cap, LEVELS)
        return Estimates(point, "survival", LEVELS, quantiles, beforehand=False)


def likely_siblings(grid: CappedGrid, spread: float) -> FloatArray:
    """Return where siblings of a request that ended in a bin are likely to end: log-normal around it. Shape (B, B).

    One that reached the cap says that siblings reach it too.
    """
    places = np.log(grid.middle)
    near = np.exp(-0.5 * ((places[:, None] - places[None, :]) / spread) ** 2) * np.log(grid.after / grid.first)
    near[-1], near[-1, -1] = 0.0, 1.0
    shares: FloatArray = np.round(near / near.sum(axis=1, keepdims=True) / _EXACT) * _EXACT
    np.fill_diagonal(shares, np.diag(shares) + 1 - shares.sum(axis=1))
    return shares
