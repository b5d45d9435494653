"""What came of training runs: a table of their throughput, and their curves in one picture."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from makespan.harness.markdown_table import markdown_table
from makespan.harness.run_file import read_run
from makespan.harness.store import write_whole
from makespan.harness.table import wide_console

BASELINE = "colocated"
WINDOW = 5
"""Steps over which a curve is smoothed."""
HEADINGS = (
    "pipeline",
    "steps",
    "samples/s",
    "relative",
    "generation busy",
    "training busy",
    "generation bubble",
    "training bubble",
    "staleness 0 / 1",
    "wasted tokens",
    "pass rate before",
    "after",
)


def throughput(iterations: Sequence[dict[str, Any]]) -> float:
    """Return samples per second over all iterations but the first, in which nothing overlaps yet."""
    counted = iterations[1:] or iterations
    return float(sum(row["samples"] for row in counted) / sum(row["seconds"] for row in counted))


def rows(out: Path, pipelines: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the cells of the table, one row per pipeline."""
    runs = {name: read_run(out / name) for name in pipelines}
    base = throughput(runs[BASELINE]) if BASELINE in runs else None
    return [_row(name, run, base, _pass_rates(out / name)) for name, run in runs.items()]


def show_runs(out: Path, pipelines: Sequence[str]) -> None:
    """Print the table."""
    table = Table(title="training runs", title_justify="left", box=box.SIMPLE)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "pipeline" else "right")
    for row in rows(out, pipelines):
        table.add_row(*row)
    wide_console().print(table)


def write_curves(out: Path, pipelines: Sequence[str]) -> None:
    """Write ``runs.md`` and ``curves.svg``: reward by step and by time, and throughput."""
    write_whole(out / "runs.md", "\n".join(markdown_table(HEADINGS, rows(out, pipelines))) + "\n")
    figure = Figure(figsize=(11, 4), layout="constrained")
    by_step, by_time = figure.subplots(1, 2, sharey=True)
    for name in pipelines:
        run = read_run(out / name)
        reward = _smoothed([row["training"]["reward_mean"] for row in run])
        seconds = [sum(row["seconds"] for row in run[: k + 1]) for k in range(len(run))]
        by_step.plot([row["iteration"] + 1 for row in run], reward, label=name)
        by_time.plot(seconds, reward, label=name)
    by_step.set(xlabel="optimiser step", ylabel=f"mean reward (over {WINDOW} steps)", title="by step")
    by_time.set(xlabel="seconds", title="by time")
    by_step.legend(frameon=False)
    for axes in (by_step, by_time):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    figure.savefig(out / "curves.svg", metadata={"Date": None})


def _row(name: str, run: Sequence[dict[str, Any]], base: float | None, rates: tuple[str, str]) -> tuple[str, ...]:
    speed = throughput(run)
    counted = run[1:] or run

    def share(key: str) -> str:
        weights = [row["seconds"] for row in counted]
        return f"{sum(row[key] * w for row, w in zip(counted, weights, strict=True)) / sum(weights):.0%}"

    stale = [sum(row["staleness"][v] if v < len(row["staleness"]) else 0 for row in run) for v in (0, 1)]
    return (
        name,
        str(len(run)),
        f"{speed:.2f}",
        f"{speed / base:.2f}" if base else "–",
        share("generation_busy_share"),
        share("training_busy_share"),
        share("generation_bubble"),
        share("training_bubble"),
        f"{stale[0]} / {stale[1]}",
        str(sum(row["tokens_wasted"] for row in run)),
        *rates,
    )


def _pass_rates(folder: Path) -> tuple[str, str]:
    file = folder / "evaluation.jsonl"
    if not file.exists():
        return "–", "–"
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    first, last = min(found, key=_version), max(found, key=_version)
    return f"{first['pass_rate']:.1%}", f"{last['pass_rate']:.1%}"


def _version(row: dict[str, Any]) -> int:
    return int(row["version"])


def _smoothed(values: Sequence[float]) -> list[float]:
    return [fmean(values[max(0, k - WINDOW + 1) : k + 1]) for k in range(len(values))]
