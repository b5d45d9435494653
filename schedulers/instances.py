"""Where requests run: generation engine replicas and the cluster they form."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np

from makespan.schedulers.kv_moves import KvMoves
from makespan.schedulers.step_time import PICOSECONDS, StepTime
from makespan.schedulers.types import IntArray

BLOCK_TOKENS = 16
"""Tokens of one KV block, as in vLLM on CUDA."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One generation engine replica.

    Parameters
    ----------
    step_time
        How long its steps take.
    kv_capacity_tokens
        Tokens of KV it can hold; whole blocks of 16 count.
    max_batch
        Most requests running at once (vLLM's ``max_num_seqs``).
    max_batched_tokens
        Most tokens computed in one step (vLLM's ``max_num_batched_tokens``), at least `max_batch`.
    async_scheduling
        Whether the next step is scheduled while the present one runs, as vLLM does by default: what arrives or becomes
        free during a step is used from the step after the next one on.
    keeps_kv
        Whether a preempted request that comes back finds what KV of it has not been overwritten, as with vLLM's prefix
        caching, which is on by default.
    shares_prompts
        Whether a request that is admitted while a sibling of its group, which has computed their prompt, runs there uses
        that one's whole blocks of it, all but that of the last token: they need no prefill and are held once
        (prefix caching, automatic in vLLM; BatchLLM, arXiv 2412.03594).
    price_per_hour
        Cost of keeping it, in any currency.
    site
        Where it stands; empty when there is only one place.
    sequence
        The counter that breaks ties between instances; distinct within a cluster.
    """

    step_time: StepTime
    kv_capacity_tokens: int
    max_batch: int = 256
    max_batched_tokens: int = 8192
    async_scheduling: bool = False
    keeps_kv: bool = False
    shares_prompts: bool = False
    price_per_hour: float = 0.0
    site: str = ""
    sequence: int = 0

    def __post_init__(self) -> None:
        if self.kv_capacity_tokens < BLOCK_TOKENS:
            raise ValueError(f"KV capacity must be at least one block of 16 tokens, got {self.kv_capacity_tokens}")
        if self.max_batch < 1:
            raise ValueError(f"the batch limit must be at least 1, got {self.max_batch}")
        if self.max_batched_tokens < self.max_batch:
            raise ValueError(
                f"the token budget of a step must be at least the batch limit {self.max_batch}, "
                f"got {self.max_batched_tokens}"
            )
        if not self.price_per_hour >= 0:
            raise ValueError(f"a price must not be negative, got {self.price_per_hour}")

    @property
    def kv_blocks(self) -> int:
        """Whole KV blocks it can hold."""
        return self.kv_capacity_tokens // BLOCK_TOKENS

    @property
    def seconds_per_prefill_token(self) -> float:
        """What a prompt token adds to a step, attention aside; where prefill steps have a law, its share of a full one."""
        law, budget = self.step_time.prefill_steps, self.max_batched_tokens
        if law is None:
            return self.step_time.seconds_per_prefill_token
        return float(law.table_ps(budget)[budget]) / budget / PICOSECONDS


@dataclass(frozen=True, eq=False)
class Cluster:
    """The instances that one dispatcher serves.

    Parameters
    ----------
    instances
        Each of them.
    kv_moves
        How KV goes along with a request that leaves an instance before it has ended; None where it is computed again.
    dispatch_latency_s
        Seconds from something that happens on an instance until what the dispatcher sends in answer is there, 0 to 3,600.
        However short, it makes what is sent for a place that has become free miss the step that begins then.
    """

    instances: tuple[Instance, ...] = field()
    kv_moves: KvMoves | None = None
    dispatch_latency_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.instances:
            raise ValueError("a cluster needs at least one instance, got 0")
        if len({i.sequence for i in self.instances}) != len(self.instances):
            raise ValueError("instance sequence numbers must be distinct, got a repeated one")
        if not 0 <= self.dispatch_latency_s <= 3600:
            raise ValueError(f"dispatch_latency_s must be between 0 and 3,600, got {self.dispatch_latency_s}")

    @classmethod
    def uniform(
        cls, instance: Instance, count: int, *, kv_moves: KvMoves | None = None, dispatch_latency_s: float = 0.0
    ) -> Self:
        """Return `count` copies of `instance`, numbered from 0."""
        if count < 1:
            raise ValueError(f"a cluster needs at least one instance, got {count}")
        return cls(tuple(replace(instance, sequence=i) for i in range(count)), kv_moves, dispatch_latency_s)

    def only(self, instances: IntArray) -> Self:
        """Return the cluster of these instances, in the order given."""
        return replace(self, instances=tuple(self.instances[int(i)] for i in instances))

    def __len__(self) -> int:
        return len(self.instances)

    def __iter__(self) -> Iterator[Instance]:
        return iter(self.instances)

    @cached_property
    def max_batch(self) -> IntArray:
        """Batch limit of each instance, shape (N,)."""
        return np.array([i.max_batch for i in self.instances], dtype=np.int64)

    @cached_property
    def kv_blocks(self) -> IntArray:
        """KV blocks of each instance, shape (N,)."""
        return np.array([i.kv_blocks for i in self.instances], dtype=np.int64)

    @cached_property
    def sequence(self) -> IntArray:
        """Tie-break counter of each instance, shape (N,)."""
        return np.array([i.sequence for i in self.instances], dtype=np.int64)

    @cached_property
    def by_sequence(self) -> IntArray:
        """Instance indices in the order of their counters, shape (N,)."""
        return np.argsort(self.sequence)

    @property
    def dispatch_latency_ps(self) -> int:
        """Picoseconds until what the dispatcher sends is there."""
        return round(self.dispatch_latency_s * PICOSECONDS)

    @property
    def sites(self) -> dict[str, int]:
        """How many instances stand at each site."""
        return dict(Counter(i.site for i in self.instances))

    @property
    def price_per_hour(self) -> float:
        """Cost of keeping all of them."""
        return sum(i.price_per_hour for i in self.instances)

    @property
    def slots(self) -> int:
        """Batch slots of the whole cluster."""
        return int(self.max_batch.sum())
