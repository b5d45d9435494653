"""Replaying measured runs: the same requests on a simulated engine whose step time knows the tables only."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from makespan.harness.experiment import simulate
from makespan.harness.laws import assert_laws
from makespan.harness.measured_runs import MeasuredRun, read_measured_runs
from makespan.harness.workload import Workload
from makespan.runtime.architectures import architecture_of
from makespan.runtime.deployments import PCIE_RTX_PRO_6000, Deployment
from makespan.runtime.layer_step_time import Limits, layered_step_time, linear_step_time
from makespan.runtime.layer_tables import LayerTables, read_layer_tables
from makespan.schedulers.bounds import lower_bound
from makespan.schedulers.catalog import fifo
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import none
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.types import FloatArray

MEMORY_BYTES = {"RTX4090": 24e9, "RTXPRO6000": 96e9}
"""Of one card."""


@dataclass(frozen=True, slots=True)
class Model:
    """A way to make a simulated engine from the tables: its step time, and which habits of the real one it has."""

    step_time: Callable[["Replay"], StepTime]
    async_scheduling: bool = False
    keeps_kv: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What became of the requests of a run: seconds from the first arrival, shape (n,); tokens computed twice, if known."""

    arrival: FloatArray
    first_token: FloatArray
    last_token: FloatArray
    recomputed_tokens: int | None = None

    @property
    def figures(self) -> dict[str, float]:
        """Makespan, and percentiles of end-to-end latency and of the time to the first token, in seconds."""
        latency, first = self.last_token - self.arrival, self.first_token - self.arrival
        return {
            "makespan": float(self.last_token.max()),
            "latency_p50": float(np.percentile(latency, 50)),
            "latency_p99": float(np.percentile(latency, 99)),
            "ttft_p50": float(np.percentile(first, 50)),
            "ttft_p99": float(np.percentile(first, 99)),
        }


@dataclass(eq=False)
class Replay:
    """A measured run and the tables of its model on its GPU."""

    run: MeasuredRun
    tables: LayerTables

    @property
    def measured(self) -> Served:
        """What the real engine did."""
        return Served(self.run.arrival, self.run.first_token, self.run.last_token)

    @cached_property
    def kv_capacity_tokens(self) -> int:
        """Tokens of KV: as recorded, else arithmetic."""
        if self.run.kv_blocks is not None:
            return self.run.kv_blocks * 16
        cards = self.run.tensor_parallel * self.run.data_parallel
        return architecture_of(self.run.model).kv_capacity_tokens(cards * MEMORY_BYTES[self.run.gpu])

    @property
    def limits(self) -> Limits:
        """What the simulated engine can meet."""
        return Limits(self.run.max_batch * self.run.data_parallel, self.kv_capacity_tokens, self.run.longest_context)

    def deployment(self, *, linked: bool = True) -> Deployment:
        """Return how the model was laid out, with or without the link between its GPUs."""
        run = self.run
        pair = run.tensor_parallel * run.data_parallel > 1
        link = PCIE_RTX_PRO_6000 if pair and linked else None
        model = architecture_of(run.model)
        return Deployment(self.tables, model, run.tensor_parallel, run.data_parallel, link, run.max_batched_tokens)

    def simulate(self, model: Model) -> Served:
        """Serve the same requests, first come first served, on the engine of `model`."""
        run, limits = self.run, self.limits
        instance = Instance(
            model.step_time(self),
            limits.kv_capacity_tokens,
            limits.max_batch,
            max_batched_tokens=run.max_batched_tokens * run.data_parallel,
            async_scheduling=model.async_scheduling,
            keeps_kv=model.keeps_kv,
        )
        requests = Requests.of(run.prompt_tokens, run.output_tokens, arrival=run.arrival)
        workload = Workload(run.name, requests, run.output_tokens, "measured")
        cluster = Cluster.uniform(instance, 1)
        timeline = simulate(workload, cluster, fifo, none(requests)).timeline
        assert_laws(workload, cluster, timeline, lower_bound(requests, run.output_tokens, cluster))
        return Served(run.arrival, timeline.first_token, timeline.ended, int(timeline.recomputed.sum()))


def _whole(replay: Replay) -> StepTime:
    return layered_step_time(replay.deployment(), replay.limits)


MODELS = {
    "one linear law, no collectives": Model(lambda replay: linear_step_time(replay.deployment(linked=False), replay.limits)),
    "and collectives": Model(lambda replay: linear_step_time(replay.deployment(), replay.limits)),
    "and a law for prefill steps": Model(lambda replay: layered_step_time(replay.deployment(), replay.limits, uneven=False)),
    "and uneven contexts": Model(_whole),
    "and scheduling one step ahead": Model(_whole, async_scheduling=True),
    "and KV that outlives preemption": Model(_whole, async_scheduling=True, keeps_kv=True),
}
"""From what the tables give at first to the whole model: each has what the one before it has, and one cause more."""


def read_replays(folder: Path) -> Iterator[Replay]:
    """Read the measured runs of a folder, each with the tables of its model."""
    for run in read_measured_runs(folder):
        yield Replay(run, read_layer_tables(folder, run.gpu, run.model, run.tensor_parallel))
