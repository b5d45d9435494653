"""The four pictures of a race, each as an ``svg`` element."""

from collections.abc import Mapping
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from makespan.harness.contenders import FIFO, Contender
from makespan.harness.drawing import FAINT, INK, PALE, WIDTH, Look, as_svg, clock, drawing, mark_line
from makespan.harness.races import Race
from makespan.harness.record import Record
from makespan.schedulers.types import FloatArray

SPENT = {"prefill": "#56B4E9", "decode": "#0072B2", "recompute": "#D55E00", "idle": PALE}
"""Colours of what instance time is spent on."""


def gaps(race: Race, look: Mapping[str, Look], name: str) -> str:
    """Draw the makespan over the lower bound, one row per policy and one mark per information source."""
    with drawing(name):
        policies = race.policies
        figure = Figure(figsize=(WIDTH, 1.7 + 0.37 * len(policies)))
        axes = figure.subplots()
        for row, contenders in enumerate(policies.values()):
            ends = contenders[0].gap, contenders[-1].gap
            axes.plot(ends, (row, row), color=PALE, linewidth=5, solid_capstyle="round", zorder=1)
            for contender, shift in zip(contenders, _spread_out(len(contenders)), strict=True):
                middle, low, high = contender.of(lambda run: run.gap)
                colour, marker = look[contender.information]
                axes.plot((low, high), (row + shift,) * 2, color=colour, linewidth=1.2)
                axes.plot(middle, row + shift, marker, color=colour, markersize=7, markeredgecolor="white", zorder=3)
            _at_right(axes, row, f"{contenders[0].gap:.2f}")
        mark_line(axes, 1.0, "lower bound")
        mark_line(axes, race.fifo_gap, "fifo", row=1, colour=FAINT, dashes=":")
        axes.set_yticks(range(len(policies)), [contenders[0].label for contenders in policies.values()])
        axes.set_ylim(len(policies) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=PALE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("Makespan / lower bound (at the right: the best)")
        used = {c.information for c in race.contenders}
        marks = [Line2D([], [], color=look[i][0], marker=look[i][1], linestyle="", label=i) for i in look if i in used]
        figure.legend(handles=marks, loc="outside lower center", ncols=3, handletextpad=0.2, columnspacing=1.2)
        return as_svg(figure, "Makespan over lower bound of every policy with every information source")


def batches(race: Race, name: str) -> str:
    """Draw instances over time, coloured by batch size, for the chosen contenders on one time axis."""
    with drawing(name):
        shown = race.shown
        longest = max(run.makespan_s for _, run in shown)
        second, unit = clock(longest)
        each = float(np.clip(0.03 * race.any_run.instances, 0.7, 1.4))
        figure = Figure(figsize=(WIDTH, 1.4 + (each + 0.35) * len(shown)))
        panels = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
        colours = matplotlib.colormaps["viridis_r"].with_extremes(bad=PALE)
        norm = PowerNorm(0.5, vmin=0, vmax=race.any_run.max_batch)
        for axes, (contender, run) in zip(panels, shown, strict=True):
            batch = np.array(run.batch_timeline)
            extent = (0, run.makespan_s / second, len(batch) - 0.5, -0.5)
            image = axes.imshow(
                np.where(batch > 0, batch, np.nan),
                cmap=colours,
                norm=norm,
                extent=extent,
                aspect="auto",
                interpolation="none",
            )
            axes.axvline(run.lower_bound_s / second, color="white", linewidth=2.6, alpha=0.8)
            axes.axvline(run.lower_bound_s / second, color=INK, linestyle="--", linewidth=1.2)
            axes.set_title(f"{contender.name}: {run.makespan_s / second:.4g} {unit}")
            axes.set_xlim(0, longest / second * 1.02)
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.set_ylabel("Instance")
        panels[-1].set_xlabel(f"Time ({unit}); dashed: lower bound")
        bar = figure.colorbar(image, ax=list(panels), location="bottom", aspect=40, pad=0.02)
        most = race.any_run.max_batch
        bar.set_ticks(sorted({1, most // 16, most // 4, most // 2, most} - {0}))
        bar.ax.minorticks_off()
        bar.set_label("Requests under way on an instance (grey: none)")
        return as_svg(figure, "Batch size of every instance over time for the chosen policies")


def completion(race: Race, look: Mapping[str, Look], name: str) -> str:
    """Draw the share of requests that have ended over time, whole and its last tenth."""
    with drawing(name):
        shown = race.shown
        longest = max(run.makespan_s for _, run in shown)
        second, unit = clock(longest)
        figure = Figure(figsize=(WIDTH, 5.4))
        whole, tail = figure.subplots(2)
        for contender, run in shown:
            colour, dashes = _line(contender, look)
            times = np.array(run.completion) / second
            share = np.linspace(0, 100, len(times))
            for axes in (whole, tail):
                axes.plot(times, share, color=colour, linestyle=dashes, linewidth=1.8)
                axes.plot(times[-1], 100, "o", color=colour, markersize=5, clip_on=False, zorder=4)
        for axes in (whole, tail):
            mark_line(axes, shown[0][1].lower_bound_s / second, "")
            axes.grid(color=PALE, linewidth=0.6)
            axes.set_ylabel("Finished (%)")
            axes.set_xlabel(f"Time ({unit})")
        begins = min(_at(run, 0.9) for _, run in shown) / second
        whole.set(xlim=(0, longest / second * 1.02), ylim=(0, 102), title="All requests")
        tail.set(xlim=(begins, longest / second * 1.01), ylim=(90, 100.3), title="The last tenth, enlarged")
        lines = [
            Line2D([], [], color=c, linestyle=d, label=f"{k.name}, {r.makespan_s / second:.4g} {unit}")
            for k, r in shown
            for c, d in [_line(k, look)]
        ]
        lines.append(Line2D([], [], color=INK, linestyle="--", linewidth=1.2, label="lower bound"))
        figure.legend(handles=lines, loc="outside lower left")
        return as_svg(figure, "Share of requests finished over time for the chosen policies")


def time_spent(race: Race, name: str) -> str:
    """Draw what the instances did with their time, for each policy with its best information, relative to fifo."""
    with drawing(name):
        best = [contenders[0] for contenders in race.policies.values()]
        figure = Figure(figsize=(WIDTH, 1.7 + 0.37 * len(best)))
        axes = figure.subplots()
        left = np.zeros(len(best))
        for kind, colour in SPENT.items():
            length = np.array([_relative_time(contender, kind) for contender in best])
            axes.barh(range(len(best)), length, left=left, color=colour, label=kind, height=0.72)
            left += length
        for row, c in enumerate(best):
            _at_right(axes, row, c.information)
        mark_line(axes, 1 - race.headroom, "lower bound")
        axes.set_yticks(range(len(best)), [c.label for c in best])
        axes.set_ylim(len(best) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("Instance-seconds / those of fifo")
        figure.legend(loc="outside lower center", ncols=4, handlelength=1, columnspacing=1.2)
        return as_svg(figure, "What instance time was spent on under every policy with its best information")


def _relative_time(contender: Contender, kind: str) -> float:
    """Return instance time spent on `kind` over all instance time of fifo."""
    return contender.of(lambda run: run.time_share[kind] / run.speedup_over_fifo).median


def _at_right(axes: Axes, row: int, words: str) -> None:
    place = axes.get_yaxis_transform()
    axes.annotate(words, (1, row), xycoords=place, xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)


def _spread_out(count: int) -> FloatArray:
    """Return offsets that keep the marks of one row apart."""
    offsets: FloatArray = np.linspace(-0.3, 0.3, count + 2)[1:-1]
    return offsets


def _line(contender: Contender, look: Mapping[str, Look]) -> tuple[str, Literal["-", "-."]]:
    """Return colour and dashes of a contender's curve."""
    return (FAINT, "-.") if contender.policy == FIFO else (look[contender.information][0], "-")


def _at(run: Record, share: float) -> float:
    return run.completion[round(share * (len(run.completion) - 1))]
