"""Races on real engines: every policy on the same instances, replaying recorded lengths or letting the model end."""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from math import inf
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from makespan.harness.experiment import Cell, simulate
from makespan.harness.informations import make_information
from makespan.harness.measures import makespan
from makespan.harness.real_options import FORCED, Budget
from makespan.harness.record import Record
from makespan.harness.workload import Workload
from makespan.runtime.calibration import measured_profile
from makespan.runtime.dispatch_latency import measured_latency
from makespan.runtime.dispatcher import Dispatcher
from makespan.runtime.instance_pool import InstancePool
from makespan.runtime.profiles import Profile
from makespan.runtime.ray_session import has_gpu, ray_session
from makespan.runtime.real_cluster import RealCluster
from makespan.runtime.sample import Prompt
from makespan.runtime.sampling import Sampling
from makespan.runtime.smollm2 import SMOLLM2, smollm2_folder
from makespan.runtime.stage import Run
from makespan.runtime.step_samples import Grid, powers_of_two
from makespan.runtime.vllm_tokens import VllmSpec, VllmTokens
from makespan.schedulers import sources
from makespan.schedulers.catalog import fifo
from makespan.schedulers.instances import BLOCK_TOKENS, Cluster
from makespan.schedulers.policy import Policy

MARGIN = 64
"""Tokens beyond the longest prompt and output that an instance must hold."""
BESIDES_S = 1.0
"""Seconds of a run beside its makespan: simulating it, and noting it down."""
LEAST = 96
"""Tokens of the longest output below which nothing is shrunk."""
FINENESS = 1000
"""Factors that are tried to shrink outputs by."""
SHORTEST = 384
"""Tokens of a request that measuring step times takes."""


@dataclass(slots=True, eq=False)
class RealBench:
    """Instances that are up, and the profile that was measured on them.

    Parameters
    ----------
    pool
        The instances.
    workload
        What is raced; prompts are counted by the model's own tokenizer.
    prompts
        Its token ids.
    profile
        What the instances were measured to be.
    dispatch_latency_s
        Measured as well.
    max_batch
        Their batch limit.
    seed
        Of what policies are told.
    deadline
        When no further run is to begin, on the monotonic clock, seconds.
    """

    pool: InstancePool
    workload: Workload
    prompts: list[Prompt]
    profile: Profile
    dispatch_latency_s: float
    max_batch: int
    seed: int
    deadline: float = inf

    @property
    def time_is_up(self) -> bool:
        """Whether the deadline has passed."""
        return monotonic() > self.deadline

    def race(self, name: str, policy: Policy, information: str, engine: str, repetition: int) -> Record:
        """Run a policy on the real instances and in simulation, check the laws and return the record."""
        cluster, workload = self._cluster(), self.workload
        forced = workload.output_tokens if engine == FORCED else None
        real = RealCluster(
            self.pool,
            cluster,
            workload.requests,
            self.prompts,
            sampling=Sampling(forced=forced),
        )
        source = make_information(information, workload, self.seed)
        dispatcher = Dispatcher(workload.requests, real, policy, source)
        began = perf_counter()
        dispatcher.run()
        wall = perf_counter() - began
        run = Run(real.timeline(), dispatcher.decide_s, wall - dispatcher.decide_s, dispatcher.events, dispatcher.plan_s)
        lengths = np.where(run.timeline.finished, run.timeline.generated, workload.output_tokens)
        happened = workload.with_lengths(workload.requests.prompt_tokens, lengths)
        cell = Cell(happened, cluster, self.profile.name, self.seed)
        return cell.measured(name, policy, information, run, engine, repetition)

    def shrunk_to(self, seconds: float) -> Workload:
        """Return the workload with the longest outputs with which a simulated run of fifo takes at most so long.

        All are shrunk alike: cut off at a cap they would lose the tail, which is what policies differ in. The longest keeps
        `LEAST` tokens even where that takes longer, since a stage that only prefills says nothing.
        """
        longest = int(self.workload.requests.max_new_tokens.max())
        first = min(FINENESS, -(-LEAST * FINENESS // longest))
        cluster, factors = self._cluster(), np.arange(first, FINENESS + 1) / FINENESS

        def takes(factor: float) -> float:
            shrunk = self.workload.shrunk(factor)
            run = simulate(shrunk, cluster, fifo, sources.none(shrunk.requests))
            return makespan(run.timeline) + BESIDES_S

        return self.workload.shrunk(float(factors[max(bisect_right(factors, seconds, key=takes) - 1, 0)]))

    def _cluster(self) -> Cluster:
        capacity = min(facts.kv_capacity_tokens for facts in self.pool.facts if facts is not None)
        instance = self.profile.instance(self.max_batch, max(BLOCK_TOKENS, capacity))
        return Cluster.uniform(instance, len(self.pool), dispatch_latency_s=self.dispatch_latency_s)


@contextmanager
def real_bench(
    workload: Workload,
    *,
    instances: int,
    max_batch: int,
    seed: int,
    model: Path | None = None,
    kv_gib: float = 1.0,
    ray_address: str | None = None,
    budget: Budget | None = None,
) -> Iterator[RealBench]:
    """Start instances, measure them as they are, side by side, and give what races are run on.

    Where the runs must keep to a budget, all outputs are shrunk by a factor with which `fifo` keeps to its share. No run
    begins after the budget, which machines exceed that are too slow for the least outputs.
    """
    began = monotonic()
    folder = model or smollm2_folder()
    prompts = _tokenised(folder, workload)
    counted = np.array([len(prompt.tokens) for prompt in prompts], dtype=np.int64)
    workload = workload.with_lengths(counted, workload.output_tokens)
    longest = max(int((counted + workload.requests.max_new_tokens).max()) + MARGIN, SHORTEST)
    spec = VllmSpec(model=folder, max_batch=max_batch, max_tokens=longest, kv_gib=kv_gib)
    name = folder.name if model else SMOLLM2
    with ray_session(ray_address, cores=instances):
        pool = InstancePool(partial(VllmTokens, spec), instances, on_gpu=has_gpu())
        try:
            pool.wait_until_live()
            profile = measured_profile(pool, f"{name.lower()}-as-measured", name, _grid(max_batch, longest))
            bench = RealBench(pool, workload, prompts, profile, measured_latency(pool, profile), max_batch, seed)
            if budget is not None:
                shrunk = bench.shrunk_to(budget.run_s(monotonic() - began))
                bench = replace(bench, workload=shrunk, deadline=began + budget.seconds)
            yield bench
        finally:
            pool.shutdown()


def _grid(max_batch: int, longest: int) -> Grid:
    """Return a small grid; what is computed anew after a move may be as long as a request, so prompts go up to that."""
    return Grid(batches=powers_of_two(max_batch), contexts=(32, 256)).within(longest)


def _tokenised(folder: Path, workload: Workload) -> list[Prompt]:
    """Return the prompts under the model's chat template, or ones of the same number of tokens where no text is known."""
    if workload.prompts is None:
        return [Prompt(tuple(100 + k % 100 for k in range(count))) for count in workload.requests.prompt_tokens]
    tokenizer: Any = import_module("transformers").AutoTokenizer.from_pretrained(str(folder))

    def tokens(text: str) -> Prompt:
        chat = [{"role": "user", "content": text}]
        written = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return Prompt(tuple(tokenizer.encode(written, add_special_tokens=False)))

    return [tokens(text) for text in workload.prompts]
