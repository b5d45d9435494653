"""The commands that plan a run in virtual time: `simulate`, `sweep` and `allocate`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from makespan.harness.cli_output import AsJson, ProgressBar, show_rows
from makespan.harness.defaults import INSTANCES, PROFILE, WORKLOAD
from makespan.harness.workloads import load_workload
from makespan.schedulers import registry

CURVES = ("completion", "batch_timeline")


def simulate(
    workload: Annotated[str, typer.Option(help="NAME or NAME=PATH.")] = WORKLOAD,
    policy: Annotated[str, typer.Option(help="Name of a policy.")] = "lpt",
    information: Annotated[str, typer.Option(help="Name of an information source; by default the policy's best.")] = "",
    profile: Annotated[str, typer.Option(help="Name or file of a step-time profile.")] = PROFILE,
    instances: Annotated[int, typer.Option(help="How many instances.")] = INSTANCES,
    max_batch: Annotated[int | None, typer.Option(help="Batch limit; by default the profile's.")] = None,
    requests: Annotated[int | None, typer.Option(help="How many requests; by default all there are.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run one policy on one workload in virtual time."""
    from makespan.harness.set_up import Load

    chosen = registry.load_policy(policy)
    cell = Load(profile, instances, max_batch).cell(load_workload(workload, requests, seed), seed)
    record = cell.race(policy, chosen, information or (chosen.information or ("none",))[-1])
    shown = {name: value for name, value in record.as_json().items() if name not in CURVES}
    if as_json:
        print(json.dumps(shown, allow_nan=False))
        return
    shares = shown.pop("time_share")
    show_rows(
        [{"measure": k, "value": _plain(v)} for k, v in (shown | {f"share of {k}": v for k, v in shares.items()}).items()],
        False,
        f"{policy} on {record.workload}",
    )


def allocate(
    gpus: Annotated[int | None, typer.Option(help="GPUs in all, of one kind, at one site.")] = None,
    generation_gpus: Annotated[int | None, typer.Option(help="Most GPUs of generation; two sites with the next.")] = None,
    training_gpus: Annotated[int | None, typer.Option(help="Most GPUs of training.")] = None,
    model: Annotated[str, typer.Option(help="Name of a model specification.")] = "qwen2.5-7b",
    gpu: Annotated[str, typer.Option(help="Kind of GPU of both stages.")] = "H800",
    generation_gpu: Annotated[str, typer.Option(help="Kind of GPU of generation, where it is another.")] = "",
    workload: Annotated[str, typer.Option(help="NAME or NAME=PATH.")] = "codemath_20k",
    requests: Annotated[int | None, typer.Option(help="How many requests; by default all there are.")] = None,
    policy: Annotated[str, typer.Option(help="Name of the policy that dispatches.")] = "lpt",
    information: Annotated[str, typer.Option(help="What it knows; by default the policy's best.")] = "",
    algorithm: Annotated[str, typer.Option(help="ppo or grpo: what is computed on a sample.")] = "ppo",
    max_batch: Annotated[int, typer.Option(help="Most requests an instance runs at once.")] = 256,
    granularity: Annotated[int | None, typer.Option(help="GPUs come in multiples of it; by default whole machines.")] = None,
    objective: Annotated[str, typer.Option(help="time or cost.")] = "time",
    cost_cap: Annotated[float | None, typer.Option(help="Most an iteration may cost.")] = None,
    times: Annotated[Path | None, typer.Option(help="Measured stage times (JSON) in place of specifications.")] = None,
    batch: Annotated[int, typer.Option(help="Samples of an iteration, with --times.")] = 1024,
    out: Annotated[Path, typer.Option(help="Picture to write, .svg or .png.")] = Path("allocation.svg"),
    as_json: AsJson = False,
) -> None:
    """Split GPUs between generation and training: StreamRL's Algorithm 1, with the whole frontier of time and cost."""
    from makespan.harness.allocating import HOUR, Job, draw_plan, plan_job, plan_measured
    from makespan.runtime.specifications import load_gpu, load_model
    from makespan.runtime.stage_profile_file import load_stage_profiles
    from makespan.schedulers.allocation import Budget, objective_of
    from makespan.schedulers.training_time import passes_of

    kinds = load_gpu(generation_gpu or gpu), load_gpu(gpu)
    passes = passes_of(algorithm)
    goal = objective_of(objective)
    # A price that is unknown counts as 1 for a GPU, unless cost is what matters.
    priced = goal == "cost" or cost_cap is not None or kinds[0].name != kinds[1].name
    prices = [kind.price if priced or kind.machine_price else 1.0 for kind in kinds]
    unit = kinds[0].gpus_per_machine if granularity is None else granularity
    budget = Budget(gpus, generation_gpus, training_gpus, unit, prices[0] / HOUR, prices[1] / HOUR)
    if times is not None:
        plan = plan_measured(load_stage_profiles(times), batch, budget, goal, cost_cap)
    else:
        source = information or (registry.load_policy(policy).information or ("none",))[-1]
        made = load_workload(workload, requests, 0)
        plan = plan_job(Job(made, load_model(model), policy, source, *kinds, passes, max_batch), budget, goal, cost_cap)
    draw_plan(plan, out)
    if as_json:
        print(json.dumps(plan.as_json(), allow_nan=False))
        return
    show_rows(plan.rows(), False, "GPUs of both stages, from the fastest to the cheapest; * is the answer")
    print(f"picture: {out}")


def sweep(
    out: Annotated[Path, typer.Option(help="Folder of the records; what is there is not run again.")],
    workload: Annotated[list[str], typer.Option(help="NAME or NAME=PATH, repeatable.")] = [WORKLOAD],  # noqa: B006
    policy: Annotated[list[str] | None, typer.Option(help="Repeatable; by default all but optimal.")] = None,
    information: Annotated[
        list[str] | None, typer.Option(help="Repeatable; by default what the policy is meant for.")
    ] = None,
    profile: Annotated[list[str], typer.Option(help="Step-time profile, repeatable.")] = [PROFILE],  # noqa: B006
    instances: Annotated[list[int], typer.Option(help="Repeatable.")] = [INSTANCES],  # noqa: B006
    max_batch: Annotated[list[int], typer.Option(help="Batch limit, repeatable.")] = [64],  # noqa: B006
    requests: Annotated[int | None, typer.Option(help="How many requests; by default all there are.")] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 1,
    cpus: Annotated[int | None, typer.Option(help="Processes side by side; by default one per core.")] = None,
    ray_address: Annotated[str | None, typer.Option(help="Ray cluster to run on; by default this machine.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run every combination of workload, policy and cluster, side by side through Ray. Resumes where it was stopped."""
    from makespan.harness.sweep import combinations, run_sweep

    wanted = combinations(
        tuple(workload),
        tuple(policy or ()),
        tuple(information or ()),
        tuple(profile),
        tuple(instances),
        tuple(max_batch),
        seeds=seeds,
        requests=requests,
    )
    with ProgressBar("experiments") as bar:
        done = run_sweep(wanted, out, cpus=cpus, ray_address=ray_address, progress=bar)
    if as_json:
        print(json.dumps({"out": str(out), "experiments": len(wanted), "run": done}))
        return
    print(f"{len(wanted)} experiments in {out}, {done} of them run now; makespan report {out} shows them")


def _plain(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
