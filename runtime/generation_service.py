"""The Stream Generation Service: prompts in, each sample out the moment it is done, new weights at any time.

The two calls are those of StreamRL (arXiv 2504.15930, section 3): `generate` and `update`. Who decides and who knows are the
policy and the information source, the same objects as in simulation.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from makespan.runtime.dispatcher import Dispatcher
from makespan.runtime.engine import Timeline
from makespan.runtime.instance_pool import InstancePool
from makespan.runtime.real_cluster import RealCluster
from makespan.runtime.recording_spec import sample_seed
from makespan.runtime.sample import Prompt, Sample
from makespan.runtime.sampling import Sampling
from makespan.schedulers.estimates import Information
from makespan.schedulers.instances import Cluster
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import IntArray


@dataclass(slots=True, eq=False)
class GenerationService:
    """Generates on the instances of a pool, as a policy decides.

    Parameters
    ----------
    pool
        The instances.
    cluster
        What is known of them.
    policy
        Who decides.
    information
        Makes the one who knows, for the requests of a stage.

    Attributes
    ----------
    version
        Of the newest weights that were sent.
    timeline, decide_s
        Of the last stage.
    stays
        When each instance worked on each sample, in seconds of this process's monotonic clock.
    recomputed_tokens
        Tokens computed again after a move or a loss.
    """

    pool: InstancePool
    cluster: Cluster
    policy: Policy
    information: Callable[[Requests], Information]
    version: int = 0
    timeline: Timeline | None = None
    decide_s: float = 0.0
    recomputed_tokens: int = 0
    stays: list[list[tuple[float, float]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stays = [[] for _ in range(len(self.pool))]

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        cap: int | IntArray,
        samples: int = 1,
        temperature: float = 1.0,
        seed: int | None = None,
        forced: IntArray | None = None,
    ) -> Generator[Sample, None, None]:
        """Generate samples of every prompt, giving each as it ends. One stage at a time.

        Parameters
        ----------
        prompts
            What to begin with.
        cap
            Most new tokens of a sample, for all or for each, shape (prompts x samples,).
        samples
            How many of each prompt; they are a group.
        temperature, seed
            Of the sampling; with a seed, samples differ from each other and repeat as far as the engine's arithmetic does.
        forced
            Exact output lengths to replay, shape (prompts x samples,).

        Yields
        ------
        Sample
            Every sample once: finished, aborted by the policy, or failed with its reason. When the caller stops early,
            what is left is aborted.
        """
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        every = [prompt for prompt in prompts for _ in range(samples)]
        requests = Requests.of(
            np.array([max(1, len(prompt.tokens)) for prompt in every]),
            np.broadcast_to(np.asarray(cap), len(every)),
            group=np.repeat(np.arange(len(prompts)), samples),
        )
        seeds = None if seed is None else [sample_seed(seed, row, 0) for row in range(len(every))]
        engine = RealCluster(
            self.pool,
            self.cluster,
            requests,
            every,
            sampling=Sampling(temperature=temperature, seeds=seeds, forced=forced),
        )
        dispatcher = Dispatcher(requests, engine, self.policy, self.information(requests))
        left = np.ones(len(every), dtype=np.bool_)
        try:
            for rows in dispatcher.stream():
                left[rows] = False
                for row in rows.tolist():
                    yield engine.sample(row)
        finally:
            if left.any():
                engine.abort(np.flatnonzero(left))
            self.timeline, self.decide_s = engine.timeline(), dispatcher.decide_s
            self.recomputed_tokens += int(self.timeline.recomputed.sum())
            for kept, new in zip(self.stays, engine.stays, strict=True):
                kept += new

    def update(self, weights: Any, version: int, *, keep: bool = True, wait: bool = True) -> None:
        """Send new weights to every instance.

        Parameters
        ----------
        weights
            A Ray reference to `PackedWeights`.
        version
            Their number, larger than any before.
        keep
            Whether samples under way are frozen meanwhile and go on under the new weights; else they finish first.
        wait
            Whether to return only when every instance has them.
        """
        self._count(version)
        self.pool.update(weights, version, keep=keep)
        while wait and self.pool.updating:
            self.pool.wait(1.0)

    def update_by(self, send: Callable[[list[Any], int], Any], version: int) -> None:
        """Have new weights sent to every instance by whoever has them, as `InstancePool.update_by` says. Does not wait."""
        self._count(version)
        self.pool.update_by(send, version)

    def _count(self, version: int) -> None:
        if version <= self.version:
            raise ValueError(f"versions must increase, got {version} after {self.version}")
        self.version = version
