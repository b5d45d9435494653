"""The command line `makespan`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from makespan.harness import ranker_commands
from makespan.harness.cli_output import AsJson, ProgressBar
from makespan.harness.defaults import INSTANCES, PROFILE, WORKLOAD
from makespan.harness.errors import EXIT_CODE, USER_ERRORS, one_line
from makespan.harness.train_cli import train
from makespan.harness.workloads import load_workload
from makespan.schedulers import registry

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Decide which LLM rollout runs where and when, and say how far that is from the proven optimum.",
)
app.command()(train)
app.add_typer(ranker_commands.app, name="ranker")
CURVES = ("completion", "batch_timeline")


@app.command()
def policies(as_json: AsJson = False) -> None:
    """List the policies that are installed."""
    rows = []
    for name in registry.policies.names():
        try:
            policy = registry.load_policy(name)
            rows.append({"policy": name, "information": list(policy.information), "source": policy.source})
        except registry.BrokenPlugin as error:
            rows.append({"policy": name, "information": [], "source": f"broken: {one_line(error)}"})
    _show(rows, as_json, "Policies")


@app.command()
def workloads(as_json: AsJson = False) -> None:
    """List the workloads that are installed; any length data can be given as NAME=PATH."""
    rows = []
    for name in registry.workloads.names():
        try:
            load = registry.workloads.load(name)
            words = getattr(load, "source", None) or (load.__doc__ or "").strip().split("\n")[0]
            rows.append({"workload": name, "what": words})
        except registry.BrokenPlugin as error:
            rows.append({"workload": name, "what": f"broken: {one_line(error)}"})
    _show(rows, as_json, "Workloads")


@app.command()
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
    # Here and below what is heavy is imported where it is used: worker processes that start a real engine import this
    # file again, and compiled code must not be loaded before the engine.
    from makespan.harness.set_up import Load

    chosen = registry.load_policy(policy)
    cell = Load(profile, instances, max_batch).cell(load_workload(workload, requests, seed), seed)
    record = cell.race(policy, chosen, information or (chosen.information or ("none",))[-1])
    shown = {name: value for name, value in record.as_json().items() if name not in CURVES}
    if as_json:
        print(json.dumps(shown, allow_nan=False))
        return
    shares = shown.pop("time_share")
    _show(
        [{"measure": k, "value": _plain(v)} for k, v in (shown | {f"share of {k}": v for k, v in shares.items()}).items()],
        False,
        f"{policy} on {record.workload}",
    )


@app.command()
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


@app.command()
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
    write_whole(out, json.dumps(profile, indent=1) + "\n")
    if as_json:
        print(json.dumps(profile))


@app.command()
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


@app.command()
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
    _show(rows(replayed), False, "Measured / simulated (error)")
    print(summary(replayed))


@app.command()
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
    _show(plan.rows(), False, "GPUs of both stages, from the fastest to the cheapest; * is the answer")
    print(f"picture: {out}")


@app.command()
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


@app.command()
def foretell(
    run: Annotated[list[Path], typer.Argument(help="Folders that makespan train has left, one for each pipeline.")],
    profile: Annotated[str, typer.Option(help="Profile of the engines, from makespan calibrate.")],
    instances: Annotated[int, typer.Option(help="How many of them generated.")] = 1,
    max_batch: Annotated[int | None, typer.Option(help="Their batch limit; by default the profile's.")] = None,
    micro_batch_tokens: Annotated[int, typer.Option(help="Of the trainer.")] = 1024,
    policy: Annotated[str, typer.Option(help="Name of the policy that dispatched.")] = "least_in_flight",
    as_json: AsJson = False,
) -> None:
    """Simulate the pipelines of training runs and say how far their iterations are from those that were measured."""
    from makespan.harness.foretold_pipeline import foretell as one
    from makespan.runtime.profiles import load_profile
    from makespan.schedulers.instances import Cluster

    cluster = Cluster.uniform(load_profile(profile).instance(max_batch), instances)
    chosen = registry.load_policy(policy)
    found = [one(folder, cluster, chosen, micro_batch_tokens=micro_batch_tokens) for folder in run]
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
    _show(rows, as_json, "Seconds of an iteration, medians")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a benchmark's results.")], as_json: AsJson = False
) -> None:
    """Write the pages of a folder of results again, and print its tables."""
    from makespan.harness.agreement import agreements
    from makespan.harness.agreement import for_terminal as table_of_agreement
    from makespan.harness.headlines import regime
    from makespan.harness.races import sections
    from makespan.harness.report import write_report
    from makespan.harness.store import read_records
    from makespan.harness.table import for_terminal, wide_console

    records = read_records(folder)
    page = write_report(records, folder)
    if as_json:
        print(json.dumps({"report": str(page), "records": len(records)}))
        return
    for section in sections(records):
        for race in section.races:
            print(f"{section.title}: {regime(race)}")
        wide_console().print(for_terminal(section))
    for agreement in agreements(records):
        wide_console().print(table_of_agreement(agreement))
        print(agreement)
    print(f"report: {page}")


def main() -> None:
    """Run the command line; a user's error is one line and exit code 2."""
    try:
        app()
    except USER_ERRORS as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(EXIT_CODE)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)


def _show(rows: list[dict[str, Any]], as_json: bool, title: str) -> None:
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(title=title, title_justify="left")
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(", ".join(v) if isinstance(v, list) else str(v) for v in row.values()))
    Console().print(table)


def _plain(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
