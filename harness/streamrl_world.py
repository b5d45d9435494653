"""The setting of StreamRL's evaluation in simulation, with everything the paper does not state as a named assumption."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import fmean

import numpy as np

from makespan.harness.degraded import ranker_of_recalls
from makespan.harness.generators import codemath_20k
from makespan.harness.shapes import CodeMath
from makespan.harness.workload import Workload
from makespan.runtime.generated import Generated
from makespan.runtime.iteration import Iteration
from makespan.runtime.parallelism import LaidOut, Stage, best_generation, best_training
from makespan.runtime.pipelines import Pipeline, simulate_pipeline
from makespan.runtime.specifications import load_gpu, load_model
from makespan.schedulers import sources
from makespan.schedulers.allocation import algorithm_1
from makespan.schedulers.estimates import Information
from makespan.schedulers.registry import load_policy
from makespan.schedulers.roofline import Efficiency
from makespan.schedulers.stage_profile import StageProfile
from makespan.schedulers.training_time import PPO, Passes, TrainingTime
from makespan.schedulers.types import FloatArray

BATCH = 1024
PROFILED = 3
"""Batches that a point of P_gen is the mean of."""
RECALLS = {
    "ranker_7b": {0.2: 0.87, 0.1: 0.82, 0.05: 0.76},
    "ranker_3b": {0.2: 0.85, 0.1: 0.79, 0.05: 0.72},
    "ranker_1.5b": {0.2: 0.81, 0.1: 0.75, 0.05: 0.68},
}
"""Recall of the longest fifth, tenth and twentieth by rankers of three sizes (Table 4)."""
SMOOTH = "ranker_7b_smooth"
"""A ranker without wild guesses, of the recall of the longest fifth alone."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the paper leaves open.

    Parameters
    ----------
    max_batch
        Most requests that an instance runs at once; 256 was vLLM's default. The paper has its own engine.
    dispatch
        Policy that stands for StreamRL's dispatching: Algorithm 2 as printed.
    information
        What that policy knows: an oracle degraded to the recalls of the paper's ranker.
    tensor
        Tensor parallelism of generation by model; 0 for the fastest. The paper measures its 7B model on one H800 (Figure 6),
        where the weights take 19 % of the memory; the same share means four GPUs for 32B (20 %) and eight for 72B (23 %).
    efficiency
        Of the time models.
    passes
        What PPO computes on a sample.
    rank_tokens
        Tokens that fill one data-parallel rank of the trainer.
    granularity
        GPUs are given out in whole machines.
    handover
        As of `Pipeline`.
    reload_s
        Seconds by which colocation is slower per iteration: weights and states change places.
    """

    max_batch: int = 256
    dispatch: str = "skew_aware"
    information: str = "ranker_7b"
    tensor: tuple[tuple[str, int], ...] = (("qwen2.5-7b", 1), ("qwen2.5-32b", 4), ("qwen2.5-72b", 8))
    efficiency: Efficiency = field(default_factory=Efficiency)
    passes: Passes = PPO
    rank_tokens: int = 32_768
    granularity: int = 8
    handover: str = "stage"
    reload_s: float = 0.0


@dataclass(frozen=True, slots=True)
class World:
    """A model on GPUs of one kind for each stage, with outputs of up to `cap` tokens.

    Parameters
    ----------
    model
        Name of the model.
    cap
        5000, 10000 or 20000: the versions of the paper's data.
    given
        Assumptions.
    generation_gpu, training_gpu
        Names of the kinds of GPU.
    """

    model: str
    cap: int
    given: Assumptions = Assumptions()
    generation_gpu: str = "H800"
    training_gpu: str = "H800"

    def generation(self, gpus: int, policy: str, information: str, seed: int = 0) -> LaidOut:
        """Return the generation of one batch on `gpus`; the layout is the best one for the batch of seed 0."""
        tensor = dict(self.given.tensor).get(self.model, 0)
        if seed and not tensor:
            tensor = self.generation(gpus, policy, information).layout.tensor
        # Generation does not depend on how well training does, nor the other way round on memory bandwidth.
        efficiency = replace(self.given.efficiency, training_flops=Efficiency().training_flops)
        how = (tensor, self.given.max_batch, efficiency)
        return _generation(self.model, self.cap, self.generation_gpu, gpus, policy, information, seed, how)

    def generation_s(self, gpus: int, policy: str, information: str) -> float:
        """Return mean seconds of generation over the batches that are profiled."""
        return fmean(self.generation(gpus, policy, information, seed).seconds for seed in range(PROFILED))

    def training(self, gpus: int) -> tuple[TrainingTime, float]:
        """Return the trainer on `gpus`, and its seconds for the batch of seed 0."""
        efficiency = replace(self.given.efficiency, bandwidth=Efficiency().bandwidth)
        passes, rank_tokens = self.given.passes, self.given.rank_tokens
        return _training(self.model, self.cap, self.training_gpu, gpus, efficiency, passes, rank_tokens)

    def curves(self, most: int, policy: str, information: str) -> tuple[StageProfile, StageProfile]:
        """Return P_gen and P_train up to `most` GPUs; sizes that do not fit are left out."""
        sizes = range(self.given.granularity, most + 1, self.given.granularity)
        generation = _profile(sizes, lambda n: self.generation_s(n, policy, information))
        return generation, _profile(sizes, lambda n: self.training(n)[1])

    def split(self, gpus: int, policy: str, information: str) -> tuple[int, int]:
        """Return what Algorithm 1 gives generation and training."""
        generation, training = self.curves(gpus - self.given.granularity, policy, information)
        return algorithm_1(generation.seconds, training.seconds, gpus, self.given.granularity)

    def run(
        self,
        pipeline: str,
        split: tuple[int, int],
        policy: str,
        information: str,
        iterations: int = 6,
        transfer_s: float = 0.0,
    ) -> list[Iteration]:
        """Run a pipeline on a split; every iteration draws another batch."""
        trainer = self.training(split[1])[0]

        def generate(j: int) -> Generated:
            laid_out = self.generation(split[0], policy, information, seed=j)
            return Generated.of(laid_out.timeline, batch_of(self.cap, j).requests)

        how = Pipeline(pipeline, handover="instance" if self.given.handover == "instance" else "stage")
        return list(simulate_pipeline(how, iterations, generate, lambda _: trainer, lambda _: transfer_s))

    def colocated(self, gpus: int, policy: str, information: str) -> list[Iteration]:
        """Run colocation: each stage on all GPUs."""
        return self.run("colocated", (gpus, gpus), policy, information, transfer_s=self.given.reload_s)


def samples_per_s(iterations: list[Iteration]) -> float:
    """Return throughput without the first iteration, in which a pipeline fills."""
    return sum(i.samples for i in iterations[1:]) / sum(i.seconds for i in iterations[1:])


@cache
def batch_of(cap: int, seed: int) -> Workload:
    """Return one batch of the paper's data, scaled to a cap on output tokens."""
    return replace(codemath_20k, name=f"codemath_{cap}", shape=CodeMath(cap))(None, BATCH, seed)


def tokens_of(workload: Workload) -> FloatArray:
    """Return the tokens that are trained on."""
    return (workload.requests.prompt_tokens + workload.output_tokens).astype(np.float64)


@cache
def informed(cap: int, information: str, seed: int) -> Information:
    """Return ``none``, ``oracle`` or a ranker of `RECALLS`."""
    workload = batch_of(cap, seed)
    if information == "none":
        return sources.none(workload.requests)
    if information == "oracle":
        return sources.oracle(workload.output_tokens)
    if information == SMOOTH:
        return ranker_of_recalls(workload, {0.2: RECALLS["ranker_7b"][0.2]}, seed, guesses=False)
    return ranker_of_recalls(workload, RECALLS[information], seed)


# What a stage takes is remembered by what it depends on, so that changing one assumption repeats only what it changes.


@cache
def _generation(
    model: str, cap: int, gpu: str, gpus: int, policy: str, information: str, seed: int, how: tuple[int, int, Efficiency]
) -> LaidOut:
    workload, known = batch_of(cap, seed), informed(cap, information, seed)
    stage = Stage(workload.requests, workload.output_tokens, load_policy(policy), lambda: known)
    tensor, max_batch, efficiency = how
    return best_generation(load_model(model), load_gpu(gpu), gpus, stage, efficiency, max_batch, tensor)


@cache
def _training(
    model: str, cap: int, gpu: str, gpus: int, efficiency: Efficiency, passes: Passes, rank_tokens: int
) -> tuple[TrainingTime, float]:
    tokens = tokens_of(batch_of(cap, 0))
    _, time, seconds = best_training(load_model(model), load_gpu(gpu), gpus, tokens, efficiency, passes, rank_tokens)
    return time, seconds


def _profile(sizes: range, seconds: Callable[[int], float]) -> StageProfile:
    found = {}
    for size in sizes:
        try:
            found[size] = seconds(size)
        except ValueError:
            continue
    return StageProfile.of(list(found), list(found.values()))
