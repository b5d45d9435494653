"""The best layout of a stage on some GPUs, found by trying all that fit: what P_gen and P_train rest on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from makespan.runtime.engine import Timeline
from makespan.runtime.stage import simulate_stage
from makespan.schedulers.estimates import Information
from makespan.schedulers.gpu import Gpu
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.layout import Layout, layouts
from makespan.schedulers.model_spec import ModelSpec
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.roofline import Efficiency, generation_instance
from makespan.schedulers.training_order import stage_seconds
from makespan.schedulers.training_time import PPO, Passes, TrainingTime, training_layouts, training_time
from makespan.schedulers.types import FloatArray, IntArray

MOST_INSTANCES = 16_384
"""More instances of one stage are not simulated."""


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A generation stage to be laid out: requests, their lengths, who decides, who knows."""

    requests: Requests
    output_tokens: IntArray
    policy: Policy
    information: Callable[[], Information]

    def run(self, cluster: Cluster) -> Timeline:
        """Simulate it on a cluster."""
        return simulate_stage(self.requests, self.output_tokens, cluster, self.policy, self.information()).timeline

    @property
    def longest(self) -> int:
        """Tokens of KV that the longest request needs at its end."""
        return int((self.requests.prompt_tokens + self.output_tokens).max())


@dataclass(frozen=True, slots=True, eq=False)
class LaidOut:
    """A generation stage on its best layout."""

    layout: Layout
    cluster: Cluster
    timeline: Timeline

    @property
    def seconds(self) -> float:
        """Its makespan."""
        return float(self.timeline.ended.max())


def instances_of(
    model: ModelSpec, gpu: Gpu, gpus: int, longest: int, efficiency: Efficiency, max_batch: int
) -> list[tuple[Layout, Instance]]:
    """Return each layout on which weights and the longest request fit; of pipeline degrees the least that does.

    Pipeline ranks add memory to an instance and take nothing off its step, so that more of them than needed only cost.

    Raises
    ------
    ValueError
        When none fits.
    """
    found: dict[int, tuple[Layout, Instance]] = {}
    for layout in layouts(model, gpu, gpus):
        if layout.tensor in found or layout.data > MOST_INSTANCES:
            continue
        try:
            instance = generation_instance(model, gpu, layout, efficiency, max_batch)
        except ValueError:
            continue
        if instance.kv_blocks * 16 >= longest:
            found[layout.tensor] = layout, instance
    if not found:
        words = f"with {longest:,} tokens of KV in some layout of {gpus} x {gpu.name}"
        raise ValueError(f"{model.name} must fit the memory {words}, got none")
    return list(found.values())


def best_generation(
    model: ModelSpec, gpu: Gpu, gpus: int, stage: Stage, efficiency: Efficiency, max_batch: int = 256, tensor: int = 0
) -> LaidOut:
    """Return the layout of least makespan, each one simulated; `tensor` fixes the tensor degree where it is not 0."""
    tried = instances_of(model, gpu, gpus, stage.longest, efficiency, max_batch)
    chosen = [(layout, instance) for layout, instance in tried if tensor in (0, layout.tensor)]
    if not chosen:
        raise ValueError(f"tensor parallelism of {model.name} must be one that fits {gpus} x {gpu.name}, got {tensor}")
    runs = []
    for layout, instance in chosen:
        cluster = Cluster.uniform(instance, layout.data)
        runs.append(LaidOut(layout, cluster, stage.run(cluster)))
    return min(runs, key=lambda run: run.seconds)


def best_training(
    model: ModelSpec,
    gpu: Gpu,
    gpus: int,
    tokens: FloatArray,
    efficiency: Efficiency,
    passes: Passes = PPO,
    rank_tokens: int = 32_768,
) -> tuple[Layout, TrainingTime, float]:
    """Return the layout of least training time on samples of `tokens`, its time model, and that time."""
    tried = []
    for layout in training_layouts(model, gpu, gpus, rank_tokens):
        time = training_time(model, gpu, layout, efficiency, passes, rank_tokens)
        tried.append((layout, time, stage_seconds(time, tokens)))
    return min(tried, key=lambda entry: entry[2])


def profile_grid(most: int, granularity: int, points: int = 24) -> list[int]:
    """Return numbers of GPUs to profile: all multiples of `granularity`, or some `points` evenly in the logarithm."""
    if most < granularity:
        raise ValueError(f"a budget must be at least {granularity} GPUs, got {most}")
    units = most // granularity
    spread = np.geomspace(1, units, min(units, points)) if units > points else np.arange(1, units + 1)
    return [granularity * int(u) for u in np.unique(np.rint(spread))]
