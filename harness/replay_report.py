"""What a replay shows: the figures side by side, the share of each cause, and the latencies as a picture."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from makespan.harness.drawing import INK, as_svg, drawing
from makespan.harness.markdown_table import markdown_table
from makespan.harness.replay import MODELS, Replay, Served
from makespan.harness.store import write_whole
from makespan.runtime.profiles import Profile
from makespan.schedulers.types import FloatArray

NAMES = {
    "makespan": "makespan",
    "latency_p50": "latency, p50",
    "latency_p99": "latency, p99",
    "ttft_p50": "first token, p50",
    "ttft_p99": "first token, p99",
}
SIMULATED = "#0072B2"


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """A run and what every model made of it; the last is the whole one."""

    replay: Replay
    by_model: dict[str, Served]

    @property
    def whole(self) -> Served:
        """What the whole model made of it."""
        return list(self.by_model.values())[-1]

    def errors(self, model: str) -> dict[str, float]:
        """Return the signed relative error of each figure."""
        measured, simulated = self.replay.measured.figures, self.by_model[model].figures
        return {name: simulated[name] / measured[name] - 1 for name in measured}

    def as_json(self) -> dict[str, Any]:
        """Return figures in seconds and errors as fractions."""
        return {
            "run": self.replay.run.name,
            "requests": len(self.replay.run.arrival),
            "measured": self.replay.measured.figures,
            "simulated": self.whole.figures,
            "recomputed_tokens": self.whole.recomputed_tokens,
            "error": self.errors(list(self.by_model)[-1]),
            "error_by_model": {model: self.errors(model) for model in self.by_model},
        }


def replay_all(replays: Sequence[Replay]) -> list[Replayed]:
    """Replay every run under every model."""
    return [Replayed(replay, {name: replay.simulate(model) for name, model in MODELS.items()}) for replay in replays]


def rows(replayed: Sequence[Replayed]) -> list[dict[str, str]]:
    """Return one row for each run: measured, simulated, error."""
    found = []
    for one in replayed:
        record, row = one.as_json(), {"run": one.replay.run.name}
        for name, words in NAMES.items():
            error = record["error"][name]
            row[words] = f"{record['measured'][name]:.2f} / {record['simulated'][name]:.2f} s ({error:+.1%})"
        found.append(row)
    return found


def summary(replayed: Sequence[Replayed]) -> str:
    """Say in one line how large the errors are."""
    sizes = {name: [abs(one.as_json()["error"][name]) for one in replayed] for name in NAMES}
    return "; ".join(
        f"{words}: median error {np.median(sizes[name]):.1%}, worst {max(sizes[name]):.1%}" for name, words in NAMES.items()
    )


def write_replay(replayed: Sequence[Replayed], out: Path) -> None:
    """Write tables, picture, records and the fitted profiles into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "replay.md", _page(replayed))
    write_whole(out / "replay.svg", _picture(replayed))
    write_whole(out / "replay.json", json.dumps([one.as_json() for one in replayed], indent=1) + "\n")
    for one in replayed:
        profile = profile_of(one.replay)
        write_whole(out / f"{profile.name}.json", json.dumps(profile.as_json()) + "\n")


def profile_of(replay: Replay) -> Profile:
    """Return the whole model of a run as a profile."""
    run, limits = replay.run, replay.limits
    cards = f"{run.tensor_parallel * run.data_parallel} x {run.gpu}"
    return Profile(
        name=f"{run.model.partition('/')[2]}-{run.gpu}".lower(),
        step_time=list(MODELS.values())[-1].step_time(replay),
        kv_capacity_tokens=limits.kv_capacity_tokens,
        max_batch=limits.max_batch,
        max_batched_tokens=run.max_batched_tokens * run.data_parallel,
        source=f"Fitted to LLMServingSim's layer tables (casys-kaist/LLMServingSim, MIT): {run.model} in bf16 on {cards}.",
    )


def _page(replayed: Sequence[Replayed]) -> str:
    table = rows(replayed)
    lines = ["# Measured runs, replayed", "", "Measured / simulated (error). " + summary(replayed) + ".", ""]
    lines += markdown_table(list(table[0]), (list(row.values()) for row in table))
    for name, words in NAMES.items():
        lines += ["", f"## Error of {words}, one cause more in each row", ""]
        body = [[model, *(f"{one.errors(model)[name]:+.1%}" for one in replayed)] for model in replayed[0].by_model]
        lines += markdown_table(["model", *(one.replay.run.name for one in replayed)], body)
    return "\n".join([*lines, ""])


def _picture(replayed: Sequence[Replayed]) -> str:
    with drawing("replay"):
        figure = Figure(figsize=(8.4, 3.1 * -(-len(replayed) // 2)))
        panels = figure.subplots(-(-len(replayed) // 2), 2, squeeze=False).ravel()
        for axes in panels[len(replayed) :]:
            axes.set_visible(False)
        for axes, one in zip(panels, replayed, strict=False):
            _panel(axes, one)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        words = "Share of requests that have had their first token, and that have ended, by seconds since arrival"
        return as_svg(figure, words)


def _panel(axes: Axes, one: Replayed) -> None:
    for served, colour, words in ((one.replay.measured, INK, "measured"), (one.whole, SIMULATED, "simulated")):
        _steps(axes, served.last_token - served.arrival, color=colour, label=f"end, {words}")
        _steps(axes, served.first_token - served.arrival, color=colour, linestyle=":", label=f"first token, {words}")
    axes.set_title(one.replay.run.name, fontsize=10)
    axes.set_xlabel("seconds since arrival")
    axes.set_ylabel("share of requests")


def _steps(axes: Axes, seconds: FloatArray, **look: Any) -> None:
    axes.step(np.sort(seconds), np.arange(1, len(seconds) + 1) / len(seconds), where="post", linewidth=1.4, **look)
