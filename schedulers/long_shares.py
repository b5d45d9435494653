"""Contiguous shares of equal finish for the longest requests, beside instances that share the rest through one queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from makespan.schedulers.finish_model import FinishModel, Work
from makespan.schedulers.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Seconds of contiguous stretches of requests, longest first, on one kind of instance."""

    work: Work
    model: FinishModel
    besides: FloatArray
    busy: FloatArray
    kv_bound: FloatArray

    @classmethod
    def of(cls, work: Work, model: FinishModel) -> Self:
        """Sum up what stretches take by work alone, at full batches, and with full KV."""
        own, step = model.besides(work), model.table[-1]
        held = work.tokens * (work.context + work.tokens / 2)
        sums = (own, own + step / model.max_batch * work.tokens, own + step * held / model.kv_tokens)
        return cls(work, model, *(np.concatenate([[0.0], np.cumsum(s)]) for s in sums))

    def furthest(self, first: int, limit: float) -> int:
        """Return where a stretch from `first` must end to take at most `limit` seconds."""
        count = len(self.work.tokens)
        room = min(self.model.max_batch, count - first)
        decode = np.cumsum(self.work.tokens[first : first + room] * np.diff(self.model.table)[:room])
        seconds = decode + self.besides[first + 1 : first + room + 1] - self.besides[first]
        at_once = int(np.searchsorted(seconds, limit, side="right"))
        full = int(np.searchsorted(self.kv_bound, self.kv_bound[first] + limit, side="right")) - 1
        if at_once < room:
            return min(first + at_once, full)
        # The rest waits for slots, and until it has started every step is a full one, for the longest too.
        if self.work.tokens[first] * self.model.table[-1] > limit:
            return min(first + room, full)
        return min(int(np.searchsorted(self.busy, self.busy[first] + limit, side="right")) - 1, full)

    def pooled(self, first: int, instances: int) -> float:
        """Return about how long everything from `first` on takes where so many instances share it."""
        model, work = self.model, self.work
        if first == len(work.tokens):
            return 0.0
        total = float(work.tokens[first:].sum()) / instances
        steps = max(float(work.tokens[first]), total / model.max_batch)
        step = np.interp(max(total / steps, 1.0), np.arange(len(model.table)), model.table)
        return float(steps * step + (self.besides[-1] - self.besides[first]) / instances)


def long_shares(work: Work, models: Sequence[FinishModel], dedicated: int) -> IntArray:
    """Return up to which request the share of each dedicated instance goes, shape (dedicated,).

    Each takes as many as it finishes by the time at which the others could finish what is left, which is found by bisection.

    Parameters
    ----------
    work
        Requests, longest first.
    models
        Of each instance, in the order in which they take their shares.
    dedicated
        How many take one; if all do, nothing is left.
    """
    stretches = {model: Stretch.of(work, model) for model in models}
    count, others = len(work.tokens), len(models) - dedicated

    def ends(limit: float) -> list[int]:
        first, found = 0, []
        for model in models[:dedicated]:
            first = stretches[model].furthest(first, limit) if first < count else count
            found.append(first)
        return found

    def enough(found: list[int], limit: float) -> bool:
        if others == 0:
            return found[-1] == count
        return stretches[models[-1]].pooled(found[-1], others) <= limit

    low = 0.0
    high = max(float(s.busy[-1] + s.kv_bound[-1] + work.tokens[0] * s.model.table[-1]) for s in stretches.values())
    found = ends(high)
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        tried = ends(middle)
        if enough(tried, middle):
            high, found = middle, tried
        else:
            low = middle
    return np.array(found, dtype=np.int64)
