"""When each instance ends if requests start longest first and stay where they are: the model that plans are judged by.

An instance of B slots takes its requests longest first; when one ends, the next takes its slot. In units of steps slot s
is busy from 0 to some E_s, so the step after the first ``t`` runs as many requests as there are E_s > t, and with E in
decreasing order

    end = sum_k E_k * (table(k) - table(k - 1)) + gamma * (KV held, over all steps) + rho * (prompt tokens),   table(0) = 0.

This is the engine to the picosecond but for prompts that do not fit the token budget of the first steps, and for KV: what
does not fit is preempted. A plan is charged for the steps that its KV takes at least.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from makespan.schedulers.instance_end import InstanceEnd, more_ps
from makespan.schedulers.instances import Cluster
from makespan.schedulers.prefill_bound import base_ps, least_kv_ps, prefill_work_ps
from makespan.schedulers.supporting_lines import supporting_lines
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import NOWHERE, View

_HALVINGS = 24


@dataclass(frozen=True, slots=True, eq=False)
class StagePlan:
    """What is left of a stage, longest requests first.

    Parameters
    ----------
    cluster
        The instances.
    rows
        The requests, by what remains of them, shape (n,).
    lengths, prompts
        Tokens that remain to be made, and tokens that come before them, shape (n,).
    fixed
        The instance on which each already is, or -1, shape (n,).
    """

    cluster: Cluster
    rows: IntArray
    lengths: IntArray
    prompts: IntArray
    fixed: IntArray

    @classmethod
    def of(cls, view: View, rows: IntArray) -> Self:
        """Return the plan to be made for `rows` beside what is already on the instances."""
        inside = np.flatnonzero((view.instance != NOWHERE) & ~view.ended)
        known = np.union1d(rows, inside)
        remaining = np.maximum(np.rint(view.estimates.point) - view.generated, 1).astype(np.int64)
        known = known[np.lexsort((view.requests.sequence[known], -remaining[known]))]
        fixed = np.where(np.isin(known, rows), NOWHERE, view.instance[known])
        return cls(view.cluster, known, remaining[known], (view.requests.prompt_tokens + view.generated)[known], fixed)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def kv(self) -> IntArray:
        """Token-steps of KV of each request, shape (n,)."""
        return self.lengths * self.prompts + self.lengths * (self.lengths - 1) // 2

    @property
    def prefill(self) -> IntArray:
        """Tokens of each request that are yet to be computed before its next one, shape (n,); what is placed has done so."""
        return np.where(self.fixed < 0, self.prompts, 0)

    def besides(self) -> FloatArray:
        """Return picoseconds each request adds to each instance for its KV and its prompt, shape (N, n)."""
        work = [
            least_kv_ps(i) * self.kv + prefill_work_ps(i, self.prefill.astype(np.float64), *supporting_lines(base_ps(i))[0])
            for i in self.cluster
        ]
        return np.array(work, dtype=np.float64)

    def instance_ends(self) -> list[InstanceEnd]:
        """Return when each instance ends as a function of what it is given."""
        lengths, kv, besides = self.lengths.tolist(), self.kv.tolist(), self.besides().tolist()
        return [InstanceEnd.of(one, lengths, kv, besides[i]) for i, one in enumerate(self.cluster)]

    def ends(self, where: IntArray) -> FloatArray:
        """Return picoseconds at which each instance ends if request `k` runs on ``where[k]``, shape (N,)."""
        return np.array([end(np.flatnonzero(where == i).tolist()) for i, end in enumerate(self.instance_ends())])

    def first_fit(self) -> IntArray:
        """Return the plan that fills the instances in turn, longest first, up to the least common end at which all fit.

        A request goes to the first instance on which it ends in time. So the longest share instances in small batches, and
        short ones fill what room they leave.
        """
        best = self.least_end()
        low, high = 0.0, float(self.ends(best).max())
        target = high
        for _ in range(_HALVINGS):
            found = self._dealt(target)
            if found is None:
                low = target
            elif (end := float(self.ends(found).max())) <= high:
                best, high = found, end
            if high - low <= 1e-5 * high:
                break
            target = (low + high) / 2
        return best

    def least_end(self) -> IntArray:
        """Return the plan that gives each request, longest first, to the instance that would end first with it."""
        dealt = self._dealt(None)
        assert dealt is not None
        return dealt

    def _dealt(self, target: float | None) -> IntArray | None:
        """Return where requests go one by one: the first instance that ends by `target`, or the one that ends first."""
        limits = self.cluster.max_batch
        slots = np.zeros((len(self.cluster), int(limits.max())), dtype=np.int64)
        closed = np.where(np.arange(slots.shape[1]) < limits[:, None], 0, np.iinfo(np.int64).max // 2)
        more = np.zeros(slots.shape)
        for i, instance in enumerate(self.cluster):
            more[i, : instance.max_batch] = more_ps(instance)
        rest, besides = np.zeros(len(self.cluster)), self.besides()
        every, where = np.arange(len(self.cluster)), np.empty(len(self), dtype=np.int64)
        # Among instances that are alike, those with smaller counters come first (law L7).
        turn = self.cluster.by_sequence
        for k, length in enumerate(self.lengths.tolist()):
            trial = slots.copy()
            trial[every, (slots + closed).argmin(axis=1)] += length
            ends = (-np.sort(-trial, axis=1) * more).sum(axis=1) + rest + besides[:, k]
            i = int(self.fixed[k])
            if i == NOWHERE:
                fits = turn[ends[turn] <= target] if target is not None else turn[[ends[turn].argmin()]]
                if not len(fits):
                    return None
                i = int(fits[0])
            where[k] = i
            slots[i] = trial[i]
            rest[i] += besides[i, k]
        return where
