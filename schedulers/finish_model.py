"""When an instance would finish the requests it has, by its step-time model and no more than arithmetic.

Requests start in order as slots become free. Counted in steps this is list scheduling on as many machines as there are
slots, which needs no clock; the batch at each step is then known, and a sum over the steps gives seconds.
"""

from dataclasses import dataclass, replace
from heapq import heapreplace
from typing import Self

import numpy as np

from makespan.schedulers.instances import BLOCK_TOKENS, Cluster, Instance
from makespan.schedulers.step_time import PICOSECONDS
from makespan.schedulers.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Requests in the order in which they start.

    Parameters
    ----------
    tokens
        Tokens that each has yet to generate, at least 1. Shape (n,).
    context
        Tokens whose KV it holds when it goes on. Shape (n,).
    prefill
        Those of them that must be computed first. Shape (n,).
    """

    tokens: FloatArray
    context: FloatArray
    prefill: FloatArray

    def take(self, rows: IntArray | slice) -> Self:
        """Return the work of some rows, in that order."""
        return type(self)(self.tokens[rows], self.context[rows], self.prefill[rows])


@dataclass(frozen=True, slots=True, eq=False)
class FinishModel:
    """One kind of instance in seconds.

    Parameters
    ----------
    table
        Step time at 0 … B requests; entry 0 is 0. Shape (B + 1,).
    kv, prefill
        Seconds for a KV token held during a step, and for a token computed beside decoding.
    kv_tokens
        KV capacity.
    """

    table: FloatArray
    kv: float
    prefill: float
    kv_tokens: int

    @classmethod
    def of(cls, instance: Instance) -> Self:
        """Return the model of `instance`."""
        step = instance.step_time
        table = step.table_ps(instance.max_batch) / PICOSECONDS
        table[0] = 0.0
        kv_tokens = instance.kv_blocks * BLOCK_TOKENS
        return cls(table, step.seconds_per_kv_token, instance.seconds_per_prefill_token, kv_tokens)

    @property
    def max_batch(self) -> int:
        """Batch limit."""
        return len(self.table) - 1

    def besides(self, work: Work) -> FloatArray:
        """Return seconds that each request adds by its KV and its prefill, shape (n,)."""
        return self.kv * work.tokens * (work.context + work.tokens / 2) + self.prefill * work.prefill

    def full_cost(self, work: Work) -> FloatArray:
        """Return seconds that each request takes of an instance whose batch is full, shape (n,)."""
        cost: FloatArray = self.table[-1] / self.max_batch * work.tokens + self.besides(work)
        return cost

    def finish(self, work: Work, instances: int = 1) -> float:
        """Return the seconds until the last of these requests ends on so many instances that share one queue."""
        if not len(work.tokens):
            return 0.0
        begin, end = list_schedule(work.tokens, self._slots(work, instances))
        moments = np.concatenate([end, begin])
        turn = np.argsort(moments, kind="stable")
        batch = np.cumsum(np.repeat([-1, 1], len(begin))[turn])[:-1] / instances
        # An instance that runs nothing makes no step, but some instance makes steps of one request.
        step = np.interp(np.where(batch > 0, np.maximum(batch, 1.0), 0.0), np.arange(len(self.table)), self.table)
        return float((np.diff(moments[turn]) * step).sum()) + float(self.besides(work).sum()) / instances

    def roughly(self, total: float, longest: float, held: float, prefill: float) -> float:
        """Return about the same from sums: tokens, the most tokens of one, KV tokens times steps, tokens to prefill."""
        steps = max(longest, total / self.max_batch, held / self.kv_tokens)
        if not steps:
            return 0.0
        batch = max(total / steps, 1.0)
        low = min(int(batch), self.max_batch)
        high = min(low + 1, self.max_batch)
        step = self.table[low] + (self.table[high] - self.table[low]) * (batch - low)
        return float(steps * step + self.kv * held + self.prefill * prefill)

    def _slots(self, work: Work, instances: int) -> int:
        """Return how many requests run at once: the batch limit, or what KV holds of those that start first."""
        slots, capacity = self.max_batch * instances, self.kv_tokens * instances
        held = np.cumsum(work.context[:slots] + work.tokens[:slots] / 2)
        return slots if held[-1] <= capacity else max(instances, int(np.searchsorted(held, capacity)))


def models_of(cluster: Cluster) -> list[FinishModel]:
    """Return the model of each instance; instances of one kind share theirs."""
    kinds: dict[Instance, FinishModel] = {}
    models = []
    for instance in cluster:
        kind = replace(instance, sequence=0, site="", price_per_hour=0.0)
        if kind not in kinds:
            kinds[kind] = FinishModel.of(instance)
        models.append(kinds[kind])
    return models


def list_schedule(tokens: FloatArray, slots: int) -> tuple[FloatArray, FloatArray]:
    """Return at which step each request starts and ends when they start in order, each in the slot that is free first."""
    begin = np.zeros(len(tokens))
    if len(tokens) > slots:
        lengths = tokens.tolist()
        heap = sorted(lengths[:slots])
        later = []
        for length in lengths[slots:]:
            later.append(heap[0])
            heapreplace(heap, heap[0] + length)
        begin[slots:] = later
    return begin, begin + tokens
