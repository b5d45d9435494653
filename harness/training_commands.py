"""The commands that train a model: `pretrain` from scratch by imitation, `train` by reinforcement on real engines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from makespan.harness.cli_output import AsJson, ProgressBar
from makespan.ranker.survival import Survival
from makespan.schedulers import registry, sources
from makespan.schedulers.estimates import Information
from makespan.schedulers.requests import Requests

PIPELINES = ("colocated", "sync", "stream", "one_step_async", "fully_async")
INFORMATION: dict[str, Callable[[Requests], Information]] = {
    "none": sources.none,
    "cap": sources.cap,
    "prompt_length": sources.prompt_length,
    "siblings": sources.Siblings,
    "survival": Survival,
}
"""What can be known about requests that have never been seen before."""


def pretrain(
    out: Annotated[Path, typer.Option(help="Model folder to make.")],
    pass_rate: Annotated[float, typer.Option(help="Share of right samples at which it is stopped.")] = 0.3,
    seed: Annotated[int, typer.Option(help="Of weights and sums.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a small model from scratch on worked sums, stopped early, for reinforcement runs that a CPU finishes."""
    from makespan.runtime.pretraining import Pretraining
    from makespan.runtime.pretraining import pretrain as run

    spec = Pretraining(pass_rate=pass_rate, seed=seed)
    with ProgressBar("steps of imitation, at most") as bar:
        reached = run(out, spec, progress=bar)
    config = ",".join(f"{key}={value}" for key, value in spec.task.config.items())
    done = {"model": str(out), "pass_rate": reached, "task": f"{spec.task.name}:{config}"}
    print(json.dumps(done) if as_json else f"{done['model']}: right in {reached:.0%} of samples of --task {done['task']}")


def train(
    pipeline: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(PIPELINES)}; repeatable.")] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps of a run in all.")] = 10,
    out: Annotated[Path, typer.Option(help="Folder of the runs; one that is there is gone on with.")] = Path("runs"),
    model: Annotated[Path | None, typer.Option(help="Hugging Face model folder; by default SmolLM2-135M.")] = None,
    task: Annotated[str, typer.Option(help="reasoning-gym task, NAME or NAME:key=value,...")] = "chain_sum",
    data: Annotated[
        Path | None, typer.Option(help="JSONL with a prompt a line, in place of a task; needs --reward.")
    ] = None,
    reward: Annotated[str, typer.Option(help="MODULE:FUNCTION(prompt, output, row); by default the task's scorer.")] = "",
    instruction: Annotated[str, typer.Option(help="Put after every question of a task.")] = "",
    prompts: Annotated[int, typer.Option(help="Prompts of a step.")] = 4,
    samples: Annotated[int, typer.Option(help="Samples of each prompt.")] = 4,
    cap: Annotated[int, typer.Option(help="Most new tokens of a sample.")] = 96,
    temperature: Annotated[float, typer.Option(help="Of the sampling.")] = 1.0,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW.")] = 1e-5,
    kl: Annotated[float, typer.Option(help="Weight of the divergence from the initial model.")] = 0.0,
    micro_batch_tokens: Annotated[int, typer.Option(help="Most tokens of one forward and backward pass.")] = 1024,
    mini_batch: Annotated[int, typer.Option(help="Groups that the pipeline sync hands over at once.")] = 2,
    dtype: Annotated[str, typer.Option(help="Of the trainer's computation: auto, bfloat16 or float32.")] = "auto",
    policy: Annotated[str, typer.Option(help="Name of a policy.")] = "least_in_flight",
    information: Annotated[str, typer.Option(help=f"One of {', '.join(INFORMATION)}.")] = "none",
    instances: Annotated[int | None, typer.Option(help="Engines; by default one for each core or GPU left.")] = None,
    elastic: Annotated[int, typer.Option(help="Most instances, which join and leave between steps; 0 for never.")] = 0,
    max_batch: Annotated[int, typer.Option(help="Most samples that an instance runs at once.")] = 16,
    kv_gib: Annotated[float, typer.Option(help="KV cache of an instance on the CPU, in GiB.")] = 0.5,
    drain: Annotated[
        bool, typer.Option(help="Finish samples before new weights are taken, and keep none in flight.")
    ] = False,
    weight_transfer: Annotated[str, typer.Option(help="shared_memory, or nccl between GPUs.")] = "shared_memory",
    evaluate: Annotated[int, typer.Option(help="Held-out prompts to answer before and after.")] = 0,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 1,
    ray_address: Annotated[str | None, typer.Option(help="Ray cluster, HOST:PORT; by default this machine.")] = None,
    seed: Annotated[int, typer.Option(help="Of prompts, samples and training.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a model by GRPO on real rollouts. Resumes where it was stopped or killed."""
    chosen = pipeline or ["fully_async"]
    for name in chosen:
        if name not in PIPELINES:
            raise registry.unknown_name("pipeline", name, PIPELINES)
    if information not in INFORMATION:
        raise registry.unknown_name("information source", information, INFORMATION)
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if data is not None and not reward:
        raise ValueError(f"--data needs --reward, for only tasks have a scorer of their own, got {data} alone")
    dispatching = registry.load_policy(policy)
    # Each module is imported before what it can refuse, the heavy ones last: a mistake is answered at once.
    from makespan.runtime.rollouts import Batch

    batch = Batch(prompts=prompts, samples=samples, cap=cap, temperature=temperature, seed=seed)
    from makespan.runtime.reward import load_reward, task_reward

    scored = load_reward(reward) if reward else None
    from makespan.runtime.prompt_file import PromptFile

    from_file = None if data is None else PromptFile.read(data, prompts, seed)
    from makespan.runtime.servable import longest_request
    from makespan.runtime.smollm2 import smollm2_folder

    folder = model or smollm2_folder()
    longest = longest_request(folder, cap=cap, kv_gib=kv_gib)
    from makespan.runtime.task import Task

    source = Task.parse(task, seed=seed, instruction=instruction) if from_file is None else from_file
    if scored is None:
        scored = task_reward(task.partition(":")[0])
    from makespan.harness.training_curves import show_runs, write_curves
    from makespan.runtime.engine_slots import cores
    from makespan.runtime.grpo import Grpo
    from makespan.runtime.profiles import load_profile
    from makespan.runtime.ray_session import ray_session
    from makespan.runtime.trainer_actor import TrainerSpec
    from makespan.runtime.training_run import Evaluation, Rig
    from makespan.runtime.training_run import train as run
    from makespan.runtime.vllm_tokens import VllmSpec
    from makespan.schedulers.elastic import ElasticRule

    engine = VllmSpec(model=folder, max_batch=max_batch, max_tokens=longest, kv_gib=kv_gib, transfer=weight_transfer)
    rig = Rig(
        engine=engine,
        profile=load_profile("smollm2-135m-cpu-core"),
        policy=dispatching,
        information=INFORMATION[information],
        instances=instances,
        elastic=ElasticRule(most=elastic) if elastic else None,
    )
    grpo = Grpo(
        learning_rate=learning_rate, kl_coefficient=kl, micro_batch_tokens=micro_batch_tokens, temperature=temperature
    )
    summaries = []
    with ray_session(ray_address, cores=max(len(cores()), max(instances or 1, elastic) + 1)):
        for name in chosen:
            place = out / name
            with ProgressBar(f"steps of {name}") as bar:
                summary = run(
                    place,
                    pipeline=name,
                    steps=steps,
                    rig=rig,
                    trainer=TrainerSpec(
                        model=folder,
                        grpo=grpo,
                        checkpoints=place / "checkpoints",
                        checkpoint_every=checkpoint_every,
                        dtype=dtype,
                        seed=seed,
                        nccl=weight_transfer == "nccl",
                    ),
                    source=source,
                    reward=scored,
                    batch=batch,
                    evaluation=Evaluation(prompts=evaluate),
                    mini_batch=mini_batch,
                    keep=not drain,
                    progress=bar,
                )
            summaries.append(summary)
    write_curves(out, chosen)
    if as_json:
        print(json.dumps(summaries))
    else:
        show_runs(out, chosen)
