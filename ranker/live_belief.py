"""What remains of each request, from all that is known so far: text, history, finished siblings, tokens generated.

The update inside a group. A finished sibling adds its log likelihood to the group once; one that still runs says that its
length lies beyond what it has generated (censored evidence), which also corrects the bias that the siblings that finish
first are the short ones. It subsumes Seer's longest finished sibling (arXiv 2511.14617) and TailSieve's "unfinished at the
cutoff".
"""

from dataclasses import dataclass, field

import numpy as np

from makespan.ranker.length_shapes import LengthShapes
from makespan.schedulers.estimates import Estimates, Finished
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import BoolArray, FloatArray, IntArray

RENEWALS = 2000
"""How often, at most, new estimates are given in a stage; each lets the dispatcher sort again."""


@dataclass(slots=True, eq=False)
class LiveBelief:
    """An information source that learns from every finish and from every token.

    Parameters
    ----------
    requests
        What is asked for.
    shapes
        What lengths look like.
    log_prior
        Of every request the log probability of each shape before the stage starts, equal within a group. Shape (n, K).
    """

    requests: Requests
    shapes: LengthShapes
    log_prior: FloatArray
    _group: IntArray = field(init=False)
    _first: IntArray = field(init=False)
    _belief: FloatArray = field(init=False)
    _bin: IntArray = field(init=False)
    _ended: BoolArray = field(init=False)
    _point: FloatArray = field(init=False)
    _log_mass: FloatArray = field(init=False)
    _log_beyond: FloatArray = field(init=False)
    _expected: tuple[tuple[BoolArray | None, FloatArray], ...] = field(init=False)
    _estimates: Estimates | None = field(init=False, default=None)
    _news: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        count, shapes = len(self.requests), self.shapes
        if self.log_prior.shape != (count, len(shapes)):
            raise ValueError(f"a prior must have shape {(count, len(shapes))}, got {self.log_prior.shape}")
        _, self._first, self._group = np.unique(self.requests.group, return_index=True, return_inverse=True)
        self._belief = self.log_prior[self._first].copy()
        self._bin = np.zeros(count, dtype=np.int64)
        self._ended = np.zeros(count, dtype=np.bool_)
        self._log_mass = np.ascontiguousarray(shapes.log_mass.T)
        self._log_beyond = np.ascontiguousarray(shapes.log_beyond.T)
        caps = np.unique(self.requests.max_new_tokens)
        tables = [np.ascontiguousarray(shapes.expected(int(cap)).T) for cap in caps]
        one = len(caps) == 1
        masks = [None if one else self.requests.max_new_tokens == cap for cap in caps]
        self._expected = tuple(zip(masks, tables, strict=True))
        self._point = np.empty(count)

    def observe(self, event: Finished) -> None:
        """Add the finished samples to what is known about their groups; one that reached its cap was cut off."""
        for row, tokens in zip(event.rows.tolist(), event.output_tokens.tolist(), strict=True):
            place = self.shapes.bins.place(tokens)
            cut = tokens >= self.requests.max_new_tokens[row]
            self._belief[self._group[row]] += self._log_beyond[place] if cut else self._log_mass[place]
            self._ended[row] = True
            self._bin[row] = 0
        self._news += len(event.rows)

    def watch(self, generated: IntArray) -> None:
        """Take note of how many tokens each request has generated so far, shape (n,)."""
        if self._news or self._estimates is None:
            self._bin = np.where(self._ended, 0, np.maximum(self.shapes.bins.of(generated), 0))

    def estimate(self, requests: Requests) -> Estimates:
        """Return the expected length of each request, at least one more token than it has."""
        if self._estimates is None or self._news * RENEWALS >= len(self._group):
            self._estimates = Estimates(self.expected_tokens(), "live")
            self._news = 0
        return self._estimates

    def expected_tokens(self) -> FloatArray:
        """Return the mean length of each request given all that is known, what it has generated included. Shape (n,)."""
        share = self.shapes.posterior(self._group_evidence())
        rows = np.arange(len(self._group))
        for mask, table in self._expected:
            chosen = rows if mask is None else np.flatnonzero(mask)
            values = np.einsum("ij,ij->i", share[self._group[chosen]], table[self._bin[chosen]])
            self._point[chosen] = values
        return self._point.copy()

    def _group_evidence(self) -> FloatArray:
        """Return log prior and likelihood of each group, the samples that still run included. Shape (groups, K)."""
        running = np.flatnonzero(self._bin > 0)
        if not len(running):
            return self._belief
        groups = self._group[running]
        order = np.argsort(groups, kind="stable")
        edges = np.flatnonzero(np.diff(groups[order], prepend=-1))
        said = np.add.reduceat(self._log_beyond[self._bin[running[order]]], edges, axis=0)
        evidence = self._belief.copy()
        evidence[groups[order[edges]]] += said
        return evidence
