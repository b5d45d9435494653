"""The pictures of a measured ranker: the recall curve, the calibration, predicted against true."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from makespan.harness.drawing import BETWEEN, FAINT, INK, PALE, WIDTH, as_svg, drawing
from makespan.harness.ranker_measurement import Measurement
from makespan.ranker.ceiling import perfect_ranker
from makespan.ranker.evaluation import Target
from makespan.ranker.intervals import LEVELS
from makespan.ranker.metrics import recall

_SHARES = np.concatenate([np.linspace(0.01, 0.2, 20), np.linspace(0.22, 0.5, 15)])
_MOST_POINTS = 1500
_RANKER = "#0072B2"


def recall_curve(found: Measurement, name: str) -> str:
    """Draw which share of the longest p % of the prompts is among the predicted longest p %."""
    target = Target.of(found.groups, "group_mean")
    curves = [("ranker", found.score, target, _RANKER, "-")]
    if (found.groups.samples > 1).any():
        best, drawn = perfect_ranker(found.groups, 0)
        curves.append(("ceiling", best, Target.of(drawn, "group_mean"), INK, "--"))
    for (who, values), (colour, _) in zip(found.baseline_scores.items(), BETWEEN, strict=False):
        curves.append((who, values, target, colour, "-"))
    with drawing(name):
        figure = Figure(figsize=(WIDTH, 3.8))
        axes = figure.subplots()
        for who, score, held, colour, dashes in curves:
            heights = [recall(score, held.length, share) for share in _SHARES]
            axes.plot(100 * _SHARES, heights, dashes, color=colour, label=who, linewidth=2 if who == "ranker" else 1.2)
        axes.plot(100 * _SHARES, _SHARES, ":", color=FAINT, label="chance")
        axes.set_xlabel("Longest p % of the prompts")
        axes.set_ylabel("Recall")
        axes.set_ylim(0, 1.02)
        axes.grid(color=PALE, linewidth=0.6)
        figure.legend(loc="outside lower center", ncols=3)
        return as_svg(figure, "Recall of the longest prompts at every tail share")


def calibration(found: Measurement, name: str) -> str:
    """Draw how many samples lie below each promised quantile, for short, middling and long predictions."""
    group = found.groups.group
    below = np.log1p(found.groups.output_tokens)[:, None] <= np.log1p(found.quantiles)[group]
    third = np.searchsorted(np.quantile(found.score, (1 / 3, 2 / 3)), found.score)[group]
    with drawing(name):
        figure = Figure(figsize=(WIDTH, 3.8))
        axes = figure.subplots()
        axes.plot((0, 100), (0, 100), ":", color=FAINT, label="promised")
        words = ("short predictions", "middling", "long")
        for k, (colour, marker) in enumerate(BETWEEN[:3]):
            if (third == k).any():
                shares = 100 * below[third == k].mean(axis=0)
                axes.plot([100 * level for level in LEVELS], shares, marker + "-", color=colour, label=words[k])
        axes.set(xlabel="Promised share below (%)", ylabel="Found below (%)", xlim=(0, 100), ylim=(0, 100))
        axes.grid(color=PALE, linewidth=0.6)
        figure.legend(loc="outside lower center", ncols=2)
        return as_svg(figure, "Share of samples below the promised quantiles")


def predicted_and_true(found: Measurement, name: str) -> str:
    """Draw the predicted median against the mean length of each prompt, with the 80 % interval of its samples."""
    rng = np.random.default_rng(0)
    shown = np.sort(rng.permutation(len(found.groups))[:_MOST_POINTS])
    low, middle, high = found.quantiles[shown].T
    true = found.groups.mean_tokens[shown]
    with drawing(name):
        figure = Figure(figsize=(WIDTH, 3.8))
        axes = figure.subplots()
        # Drawn as one image, so that the page stays small.
        axes.vlines(true, low, high, color=PALE, linewidth=0.8, rasterized=True, zorder=1)
        axes.scatter(true, middle, s=6, color=_RANKER, alpha=0.6, linewidths=0, rasterized=True, zorder=2)
        ends = (max(1.0, float(min(true.min(), low.min()))), float(max(true.max(), high.max())))
        axes.plot(ends, ends, ":", color=INK)
        axes.set(xscale="log", yscale="log", xlabel="Mean output of the prompt (tokens)", ylabel="Predicted (tokens)")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda tokens, _: f"{tokens:,.0f}"))
            axis.set_minor_formatter(NullFormatter())
        axes.grid(color=PALE, linewidth=0.6)
        return as_svg(figure, "Predicted against true length of every prompt")
