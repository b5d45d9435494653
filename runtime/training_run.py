"""A training run: an engine pool, a trainer and one pipeline, from a folder of results that can be resumed."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import ray

from makespan.runtime.elastic_pool import GenerationTime, adjust
from makespan.runtime.engine_slots import cores
from makespan.runtime.generation_service import GenerationService
from makespan.runtime.instance_pool import InstancePool
from makespan.runtime.profiles import Profile
from makespan.runtime.real_pipelines import PIPELINES, STALENESS
from makespan.runtime.reward import Reward
from makespan.runtime.rollouts import Batch, PromptSource, Rollouts
from makespan.runtime.trainer_actor import TrainerSpec
from makespan.runtime.trainer_service import TrainerService
from makespan.runtime.training_loop import TrainingLoop
from makespan.runtime.vllm_tokens import VllmSpec, VllmTokens
from makespan.schedulers.elastic import ElasticRule
from makespan.schedulers.estimates import Information
from makespan.schedulers.instances import BLOCK_TOKENS, Cluster
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Held-out prompts and samples of each, and the temperature; no prompts for no evaluation."""

    prompts: int = 0
    samples: int = 1
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Rig:
    """What a run stands on.

    Parameters
    ----------
    engine
        Each instance's engine.
    profile
        What the policy is told of an instance.
    policy, information
        Who decides, and who knows about the requests of a stage.
    instances
        How many; None for every core or device that the pipeline leaves them.
    hang_s
        Seconds without a step after which an instance with work is replaced.
    elastic
        When instances are to join or leave between iterations, up to its `most`; None for never.
    """

    engine: VllmSpec
    profile: Profile
    policy: Policy
    information: Callable[[Requests], Information]
    instances: int | None = None
    hang_s: float = 60.0
    elastic: ElasticRule | None = None


def train(
    out: Path,
    *,
    pipeline: str,
    steps: int,
    rig: Rig,
    trainer: TrainerSpec,
    source: PromptSource,
    reward: Reward,
    batch: Batch,
    evaluation: Evaluation,
    mini_batch: int = 4,
    keep: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Run a pipeline inside a Ray session and give its summary.

    Every iteration is appended to ``steps.jsonl`` in `out` when it has ended, the pass rate on held-out prompts before and
    after to ``evaluation.jsonl``. A folder that holds checkpoints is gone on with.

    Parameters
    ----------
    out
        Folder of the run.
    pipeline
        One of `PIPELINES`.
    steps
        How many the run has in all.
    rig, trainer, source, reward, batch, evaluation, mini_batch, keep
        What it is made of.
    progress
        Called with the steps made and to be made.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    out.mkdir(parents=True, exist_ok=True)
    with _standing(pipeline, rig, trainer) as (service, taught):
        rollouts = Rollouts(service, source, reward, batch, _tokenizer(rig.engine.model))
        if taught.version and taught.by_nccl:
            service.update_by(taught.send, taught.version)
        elif taught.version:
            service.update(taught.weights(), taught.version)
        loop = TrainingLoop(
            pipeline, STALENESS[pipeline], rollouts, taught, range(taught.version, steps), mini_batch=mini_batch, keep=keep
        )
        _evaluate(out, rollouts, evaluation)
        loop.begin()
        for iteration in PIPELINES[pipeline](loop):
            step = iteration.iteration
            lengths = sorted(loop.lengths.pop(step))
            told = {"training": loop.reports.pop(step), "samples_trained": lengths}
            _append(out / "steps.jsonl", iteration.as_json() | told)
            if rig.elastic is not None:
                expected = GenerationTime(service.cluster.instances[0], rig.policy, lengths)
                adjust(service.pool, rig.elastic, iteration, expected)
            if progress is not None:
                progress(iteration.iteration + 1, steps)
        _evaluate(out, rollouts, evaluation)
        return {
            "pipeline": pipeline,
            "steps": steps,
            "instances_replaced": service.pool.replaced,
            "trainer_replaced": taught.replaced,
            "failed_samples": len(rollouts.failures),
        }


def seats(rig: Rig, resources: Mapping[str, float], *, shared: bool) -> tuple[int, int]:
    """Return how many instances start, and for how many more there is to be room.

    Parameters
    ----------
    rig
        What is asked for.
    resources
        Of the Ray cluster.
    shared
        Whether the trainer computes where the instances do; else it takes one core or GPU from them.

    Raises
    ------
    ValueError
        If more instances are to join than the cluster has a core or GPU for; Ray would let them wait for ever.
    """
    on_gpu = resources.get("GPU", 0) >= 1
    ours = int(resources["GPU" if on_gpu else "CPU"]) - (not shared)
    # A session of this machine may count more cores than it has, for those who ask for more instances than fit.
    real = ours if on_gpu else min(ours, len(cores()) - (not shared))
    count = rig.instances or max(1, real)
    if rig.elastic is None or rig.elastic.most <= count:
        return count, 0
    if rig.elastic.most > ours:
        kind = "GPUs" if on_gpu else "cores"
        raise ValueError(
            f"--elastic must be at most {ours}, the {kind} of the cluster that are left, got {rig.elastic.most}"
        )
    return count, rig.elastic.most - count


@contextmanager
def _standing(pipeline: str, rig: Rig, trainer: TrainerSpec) -> Iterator[tuple[GenerationService, TrainerService]]:
    shared = pipeline == "colocated"
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    on_gpu = resources.get("GPU", 0) >= 1
    if trainer.nccl and not on_gpu:
        raise ValueError("--weight-transfer nccl needs GPUs in the Ray cluster, got none")
    count, room = seats(rig, resources, shared=shared)
    if shared:
        # It computes while the engines rest, on all that they have.
        taught = TrainerService(replace(trainer, threads=len(cores())), cores=0)
    else:
        taught = TrainerService(replace(trainer, device="cuda" if on_gpu else "cpu"), gpus=int(on_gpu))
    pool = InstancePool(partial(VllmTokens, rig.engine), count, room=room, on_gpu=on_gpu, hang_s=rig.hang_s)
    try:
        pool.wait_until_live()
        [capacity, *_] = [facts.kv_capacity_tokens for facts in pool.facts if facts is not None]
        instance = rig.profile.instance(rig.engine.max_batch, max(BLOCK_TOKENS, capacity))
        cluster = Cluster.uniform(instance, count + room)
        yield GenerationService(pool, cluster, rig.policy, rig.information), taught
    finally:
        pool.shutdown()
        taught.shutdown()


def _tokenizer(model: Path) -> Any:
    return import_module("transformers").AutoTokenizer.from_pretrained(str(model))


def _evaluate(out: Path, rollouts: Rollouts, evaluation: Evaluation) -> None:
    if evaluation.prompts:
        rate = rollouts.pass_rate(evaluation.prompts, evaluation.samples, temperature=evaluation.temperature)
        _append(out / "evaluation.jsonl", {"version": rollouts.service.version, "pass_rate": rate})


def _append(file: Path, row: dict[str, Any]) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row, allow_nan=False) + "\n")
