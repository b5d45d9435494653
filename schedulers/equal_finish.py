"""Contiguous shares of equal finish: what Algorithm 2 of StreamRL becomes when caps are chosen by the step-time model."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from makespan.schedulers.instances import BLOCK_TOKENS, Instance
from makespan.schedulers.placements import LeastTokens
from makespan.schedulers.step_time import PICOSECONDS
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class EqualFinish:
    """Sort by length and fill one instance after the other up to one finish time, the least at which all fit.

    Long requests come together in small batches and short ones in large ones, as in Algorithm 2, but how many go together is
    settled for every instance by itself: by when it would finish. A request that joins k longer ones makes as many of their
    steps longer as it has tokens: its tokens times ``table(k + 1) - table(k)``, and what its KV and prompt take. Beyond
    the batch limit it waits, being short, for a slot and takes its share of full steps. The time is found by bisection.
    Where slots or KV cannot hold all requests at once, what counts is that long ones start first and loads are even, and
    least tokens decides instead.

    Contiguous partition by finish time is Heddle's (arXiv 2603.28101); the finish time in closed form is ours.
    """

    otherwise: LeastTokens = field(default_factory=LeastTokens)
    places_at_once: ClassVar[bool] = True

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the instance of each of `rows`: the longest on the first ones."""
        known = np.flatnonzero(view.arrived & ~view.ended)
        remaining = np.maximum(view.estimates.point - view.generated, 1.0)
        longest_first = known[np.lexsort((view.requests.sequence[known], -remaining[known]))]
        lengths = remaining[longest_first]
        prompts = (view.requests.prompt_tokens + view.generated)[longest_first].astype(np.float64)
        kinds = {i: _Costs.of(i, lengths, prompts) for i in {replace(i, sequence=0) for i in view.cluster}}
        # The longest requests go where a token alone is fastest.
        alone = np.array([i.step_time.table_ps(1)[1] for i in view.cluster])
        fastest_first = np.lexsort((view.cluster.sequence, alone))
        costs = [kinds[replace(view.cluster.instances[i], sequence=0)] for i in fastest_first]
        ends = _equal_finish(costs, lengths, prompts) if len(known) <= view.cluster.slots else None
        if ends is None:
            return self.otherwise.place(view, rows)
        turn = np.empty(len(view.requests), dtype=np.int64)
        turn[longest_first] = np.searchsorted(ends, np.arange(len(known)), side="right")
        placed: IntArray = fastest_first[turn[rows]]
        return placed


@dataclass(frozen=True, slots=True, eq=False)
class _Costs:
    """What requests cost one kind of instance.

    ``more[k]`` is seconds per token of the (k + 1)-th request, ``besides[j]`` seconds of request j for its KV and prompt.
    """

    more: FloatArray
    besides: FloatArray
    kv_tokens: int
    max_batch: int

    @classmethod
    def of(cls, instance: Instance, lengths: FloatArray, prompts: FloatArray) -> "_Costs":
        step = instance.step_time
        table = step.table_ps(instance.max_batch) / PICOSECONDS
        more = np.full(max(len(lengths), instance.max_batch), table[-1] / instance.max_batch)
        more[: instance.max_batch] = np.diff(table)
        more[0] = table[1]
        kv = step.seconds_per_kv_token * lengths * (prompts + lengths / 2)
        return cls(
            more, kv + instance.seconds_per_prefill_token * prompts, instance.kv_blocks * BLOCK_TOKENS, instance.max_batch
        )

    def holds(self, lengths: FloatArray, prompts: FloatArray, besides: FloatArray, limit: float) -> int:
        """Return how many of these requests, longest first, finish within `limit` seconds and fit the KV."""
        k = np.minimum(np.arange(1, len(lengths) + 1), self.max_batch)
        seconds = np.cumsum(lengths * self.more[: len(lengths)] + besides)
        # When the k-th longest ends, the longer ones have as many tokens; a partly filled block each is allowed for.
        held = np.cumsum(prompts)
        held[self.max_batch :] = 0
        kv = np.maximum.accumulate(held + k * (lengths + BLOCK_TOKENS))
        return int(np.searchsorted(np.maximum(seconds / limit, kv / self.kv_tokens), 1.0, side="right"))


def _equal_finish(costs: list[_Costs], lengths: FloatArray, prompts: FloatArray) -> IntArray | None:
    """Return for each instance up to which request its share goes, so that the last finish is least, if all fit."""

    def ends(limit: float) -> list[int]:
        first, found = 0, []
        for cost in costs:
            first += cost.holds(lengths[first:], prompts[first:], cost.besides[first:], limit)
            found.append(first)
        return found

    low = 0.0
    high = max(float((lengths * cost.more.max() + cost.besides).sum()) for cost in costs) * 2 + 1e-9
    if ends(high)[-1] < len(lengths):
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if ends(middle)[-1] >= len(lengths) else (middle, high)
    return np.array(ends(high), dtype=np.int64)
