"""When one instance ends the requests it is given, if they start longest first and stay: see `stage_plan`."""

from dataclasses import dataclass
from heapq import heapreplace

import numpy as np

from makespan.schedulers.instances import BLOCK_TOKENS, Instance
from makespan.schedulers.prefill_bound import base_ps
from makespan.schedulers.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class InstanceEnd:
    """The end of one instance as a function of its requests, quick for a few hundred of them.

    Plain lists, because a search asks for one short set after another.

    Parameters
    ----------
    more_ps
        By how much each further request makes a step longer, in picoseconds; the first all of it. As many as slots.
    lengths, kv, besides_ps
        Of each request of the plan: tokens, token-steps of KV, and picoseconds for its KV and its prompt.
    kv_tokens
        KV that the instance holds.
    """

    more_ps: list[float]
    lengths: list[int]
    kv: list[int]
    besides_ps: list[float]
    kv_tokens: int

    @classmethod
    def of(cls, instance: Instance, lengths: list[int], kv: list[int], besides_ps: list[float]) -> "InstanceEnd":
        """Return the end of `instance` as a function of what it is given."""
        return cls(more_ps(instance).tolist(), lengths, kv, besides_ps, instance.kv_blocks * BLOCK_TOKENS)

    def __call__(self, rows: list[int]) -> float:
        """Return picoseconds until the last of these requests of the plan ends; `rows` are longest first."""
        if not rows:
            return 0.0
        slots = len(self.more_ps)
        steps = [self.lengths[k] for k in rows[:slots]][::-1]
        steps = [0] * (slots - len(steps)) + steps
        for k in rows[slots:]:
            heapreplace(steps, steps[0] + self.lengths[k])
        steps.sort(reverse=True)
        # What does not fit at once takes as many steps as its KV, over all of them, fills the instance.
        full = sum([self.kv[k] for k in rows]) // self.kv_tokens // slots
        if full > steps[-1]:
            steps = [max(made, full) for made in steps]
        decode = sum([made * each for made, each in zip(steps, self.more_ps, strict=True)])
        return decode + sum([self.besides_ps[k] for k in rows])


def more_ps(instance: Instance) -> FloatArray:
    """Return by how much each further request makes a step longer, in picoseconds, shape (B,); the first all of it."""
    more: FloatArray = np.diff(np.append(0, base_ps(instance)[1:])).astype(np.float64)
    return more
