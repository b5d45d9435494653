"""What remains of each request, from all that is known so far: text, history, finished siblings, tokens generated.

The update inside a group. A finished sibling adds its log likelihood to the group once; one that still runs says that its
length lies beyond what it has generated (censored evidence), which also corrects the bias that the siblings that finish
first are the short ones. It subsumes Seer's longest finished sibling (arXiv 2511.14617) and TailSieve's "unfinished at the
cutoff". How common each shape is can be learned from this stage too, by expectation and maximisation over its groups.
"""

from dataclasses import dataclass, field
from math import inf

import numpy as np

from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.renewal import Renewal
from makespan.schedulers.estimates import Estimates, Finished
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import BoolArray, FloatArray, IntArray

LEVELS = (0.1, 0.5, 0.9)
_ROUNDS = 3
_DECIMALS = 6


@dataclass(slots=True, eq=False)
class LiveBelief:
    """An information source that learns from every finish and from every token.

    Its points are expected total lengths given what each request has generated; its quantiles, at `LEVELS`, are those of
    the same total, so that less the tokens generated they are those of what remains. A finished request has its length.

    Parameters
    ----------
    requests
        What is asked for.
    shapes
        What lengths look like.
    log_prior
        Of every request the log probability of each shape before the stage starts, equal within a group. Shape (n, K).
    prior_groups
        How many groups weigh as much as what was believed about how common the shapes are; with infinitely many that is
        kept, with few it is soon what this stage shows.
    """

    requests: Requests
    shapes: LengthShapes
    log_prior: FloatArray
    prior_groups: float = inf
    _group: IntArray = field(init=False)
    _first: IntArray = field(init=False)
    _belief: FloatArray = field(init=False)
    _seen: BoolArray = field(init=False)
    _length: IntArray = field(init=False)
    _generated: IntArray = field(init=False)
    _log_mass: FloatArray = field(init=False)
    _log_beyond: FloatArray = field(init=False)
    _usual: FloatArray = field(init=False)
    _shift: FloatArray = field(init=False)
    _expected: tuple[tuple[int, FloatArray], ...] = field(init=False)
    _renewal: Renewal = field(init=False)
    _estimates: Estimates | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        count, shapes = len(self.requests), self.shapes
        if self.log_prior.shape != (count, len(shapes)):
            raise ValueError(f"a prior must have shape {(count, len(shapes))}, got {self.log_prior.shape}")
        if not self.prior_groups > 0:
            raise ValueError(f"a prior must count for more than 0 groups, got {self.prior_groups}")
        _, self._first, self._group = np.unique(self.requests.group, return_index=True, return_inverse=True)
        self._belief = self.log_prior[self._first].copy()
        self._seen = np.zeros(len(self._first), dtype=np.bool_)
        self._length = np.zeros(count, dtype=np.int64)
        self._generated = np.zeros(count, dtype=np.int64)
        self._log_mass = np.ascontiguousarray(shapes.log_mass.T)
        self._log_beyond = np.ascontiguousarray(shapes.log_beyond.T)
        self._usual = shapes.posterior(self._belief).mean(axis=0)
        self._shift = np.zeros(len(shapes))
        caps = np.unique(self.requests.max_new_tokens).tolist()
        self._expected = tuple((cap, np.ascontiguousarray(shapes.expected(cap).T)) for cap in caps)
        self._renewal = Renewal(count)

    def observe(self, event: Finished) -> None:
        """Add the finished samples to what is known about their groups; one that reached its cap was cut off."""
        for row, tokens in zip(event.rows.tolist(), event.output_tokens.tolist(), strict=True):
            place, group = self.shapes.bins.place(tokens), self._group[row]
            cut = tokens >= self.requests.max_new_tokens[row]
            self._belief[group] += self._log_beyond[place] if cut else self._log_mass[place]
            self._seen[group] = True
            self._length[row] = tokens
        self._renewal.finished(len(event.rows))

    def watch(self, generated: IntArray) -> None:
        """Take note of how many tokens each request has generated so far, shape (n,)."""
        self._generated = generated

    def estimate(self, requests: Requests) -> Estimates:
        """Return what is believed; the same object until there is enough news."""
        if self._renewal.due(self._generated) or self._estimates is None:
            self._estimates = self._renewed()
        return self._estimates

    def expected_tokens(self) -> FloatArray:
        """Return the mean length of each request given all that is known, what it has generated included. Shape (n,)."""
        return self._renewed().point

    def _renewed(self) -> Estimates:
        unfinished = self._length == 0
        running = np.flatnonzero(unfinished & (self._generated > 0))
        generated = np.minimum(self._generated[running], self.requests.max_new_tokens[running] - 1)
        bins = np.maximum(self.shapes.bins.of(generated), 0)
        share = self._shapes_of_groups(running, bins)
        point = np.empty(len(unfinished))
        quantiles = np.empty((len(unfinished), len(LEVELS)))
        caps = self.requests.max_new_tokens.astype(np.float64)
        for cap, table in self._expected:
            of_cap = self.requests.max_new_tokens == cap
            # What has not begun is foretold once for its group.
            whole = self.shapes.quantiles(share, LEVELS, np.full(len(share), float(cap)))
            point[of_cap] = (share @ table[0])[self._group[of_cap]]
            quantiles[of_cap] = whole[self._group[of_cap]]
            mine = of_cap[running]
            point[running[mine]] = np.einsum("ij,ij->i", share[self._group[running[mine]]], table[bins[mine]])
        quantiles[running] = self.shapes.quantiles(share[self._group[running]], LEVELS, caps[running], bins)
        point[running] = np.maximum(point[running], generated + 1)
        quantiles[running] = np.maximum(quantiles[running], generated[:, None] + 1)
        ended = ~unfinished
        point[ended], quantiles[ended] = self._length[ended], self._length[ended, None]
        # Sums may differ in their last digits with the order of their terms; estimates must not.
        return Estimates(np.round(point, _DECIMALS), "live", LEVELS, np.round(quantiles, _DECIMALS))

    def _shapes_of_groups(self, running: IntArray, bins: IntArray) -> FloatArray:
        """Return the probability of each shape of each group, the samples that still run included. Shape (groups, K)."""
        evidence, seen = self._belief, self._seen
        if len(running):
            groups = self._group[running]
            order = np.argsort(groups, kind="stable")
            edges = np.flatnonzero(np.diff(groups[order], prepend=-1))
            evidence, seen = evidence.copy(), seen.copy()
            evidence[groups[order[edges]]] += np.add.reduceat(self._log_beyond[bins[order]], edges, axis=0)
            seen[groups] = True
        if self.prior_groups < inf and seen.any():
            told = evidence[seen]
            for _ in range(_ROUNDS):
                found = self.shapes.posterior(told + self._shift).sum(axis=0)
                common = (self.prior_groups * self._usual + found) / (self.prior_groups + len(told))
                self._shift = np.log(common / self._usual)
        return self.shapes.posterior(evidence + self._shift)
