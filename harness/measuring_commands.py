"""The commands that measure real engines, or hold the simulator against measurements: `record` to `foretell`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from makespan.harness.cli_output import AsJson, ProgressBar, show_rows
from makespan.schedulers import registry


def record(
    out: Annotated[Path, typer.Option(help="File to write, .jsonl or .jsonl.gz.")],
    model: Annotated[Path | None, typer.Option(help="Hugging Face model folder; by default SmolLM2-135M.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="reasoning-gym task, repeatable.")] = None,
    prompts: Annotated[int, typer.Option(help="How many prompts in all.")] = 512,
    samples: Annotated[int, typer.Option(help="Samples of each prompt.")] = 9,
    cap: Annotated[int, typer.Option(help="Most new tokens of a sample.")] = 2048,
    temperature: Annotated[float, typer.Option(help="Sampling temperature.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of prompts and samples.")] = 0,
    workers: Annotated[int | None, typer.Option(help="Engines side by side; by default as many as fit.")] = None,
    as_json: AsJson = False,
) -> None:
    """Record real output lengths: a model under vLLM on reasoning-gym prompts. Resumes where it was stopped."""
    from makespan.runtime.recording import record as run
    from makespan.runtime.recording_spec import TASKS, Recording

    spec = Recording(
        tasks=tuple(task or TASKS), prompts=prompts, samples=samples, cap=cap, temperature=temperature, seed=seed
    )
    with ProgressBar("prompts recorded") as bar:
        run(out, spec, model=model, workers=workers, progress=bar)
    if as_json:
        print(json.dumps({"out": str(out), "prompts": prompts, "samples": samples}))


def calibrate(
    out: Annotated[Path, typer.Option(help="Profile file to write.")],
    name: Annotated[str, typer.Option(help="Name of the profile.")] = "smollm2-135m-cpu-core",
    model: Annotated[Path | None, typer.Option(help="Hugging Face model folder; by default SmolLM2-135M.")] = None,
    instances: Annotated[int, typer.Option(help="Engines that are measured while they work side by side.")] = 1,
    max_batch: Annotated[int, typer.Option(help="Largest batch of the table.")] = 64,
    kv_gib: Annotated[float, typer.Option(help="KV cache of an instance on the CPU, in GiB.")] = 1.0,
    ray_address: Annotated[str | None, typer.Option(help="Ray cluster, HOST:PORT; by default this machine.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the step time of a model under vLLM, on as many cores or GPUs as are to work together."""
    from makespan.harness.store import write_whole
    from makespan.runtime.calibration import calibrate as run
    from makespan.runtime.step_samples import Grid, powers_of_two

    grid = Grid(batches=powers_of_two(max_batch))
    with ProgressBar("kinds of steps measured") as bar:
        profile = run(
            name, model=model, grid=grid, kv_gib=kv_gib, instances=instances, ray_address=ray_address, progress=bar
        )
    write_whole(out, json.dumps(profile.as_json(), indent=1) + "\n")
    if as_json:
        print(json.dumps(profile.as_json()))


def replay(
    folder: Annotated[
        Path, typer.Argument(help="Folder of layer tables and of measured runs, as LLMServingSim writes them.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder to write tables, a picture and the fitted profiles to.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold the simulator against measured runs of real engines, by a step time fitted to layer tables alone."""
    from makespan.harness.replay import read_replays
    from makespan.harness.replay_report import replay_all, rows, summary, write_replay

    replayed = replay_all(list(read_replays(folder)))
    if out is not None:
        write_replay(replayed, out)
    if as_json:
        print(json.dumps([one.as_json() for one in replayed]))
        return
    show_rows(rows(replayed), False, "Measured / simulated (error)")
    print(summary(replayed))


def foretell(
    run: Annotated[list[Path], typer.Argument(help="Folders that makespan train has left, one for each pipeline.")],
    profile: Annotated[str, typer.Option(help="Profile of the engines, from makespan calibrate.")],
    instances: Annotated[int, typer.Option(help="How many of them generated.")] = 1,
    max_batch: Annotated[int | None, typer.Option(help="Their batch limit; by default the profile's.")] = None,
    micro_batch_tokens: Annotated[int, typer.Option(help="Of the trainer.")] = 1024,
    mini_batches: Annotated[int, typer.Option(help="Parts into which the pipeline sync cut a batch.")] = 2,
    policy: Annotated[str, typer.Option(help="Name of the policy that dispatched.")] = "least_in_flight",
    as_json: AsJson = False,
) -> None:
    """Simulate the pipelines of training runs and say how far their iterations are from those that were measured."""
    from makespan.harness.foretold_pipeline import foretell as one
    from makespan.runtime.profiles import load_profile
    from makespan.schedulers.instances import Cluster

    cluster = Cluster.uniform(load_profile(profile).instance(max_batch), instances)
    chosen = registry.load_policy(policy)
    found = [
        one(folder, cluster, chosen, micro_batch_tokens=micro_batch_tokens, mini_batches=mini_batches) for folder in run
    ]
    rows = [
        {
            "pipeline": each.pipeline,
            "measured s": f"{each.measured_s:.2f}",
            "simulated s": f"{each.simulated_s:.2f}",
            "error": f"{each.error:+.1%}",
            "iterations": each.iterations,
        }
        for each in found
    ]
    show_rows(rows, as_json, "Seconds of an iteration, medians")
