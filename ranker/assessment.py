"""Everything that is said about a ranker on one set of groups, in the form in which it is printed and drawn."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from makespan.ranker import metrics
from makespan.ranker.evaluation import RANKING, TARGETS, Target, bootstrap, ceiling, ranking
from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.prompt_groups import PromptGroups
from makespan.schedulers.types import FloatArray

ERRORS = ("log_error", "log_error_median", "pinball", "coverage_80", "underestimated")
MEASURES = (*RANKING, *ERRORS)
_DRAWS = 64

Measured = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class TargetAssessment:
    """How a ranker did against one target.

    Parameters
    ----------
    model, ceiling
        Every measure of `MEASURES`; None where it makes no sense, for the whole ceiling where no prompt has two samples.
    baselines
        The same for each baseline.
    interval
        95 % bootstrap intervals of the model's ranking measures, of those that have one.
    """

    model: Measured
    ceiling: Measured
    baselines: dict[str, Measured]
    interval: dict[str, tuple[float, float]]

    def as_json(self) -> dict[str, object]:
        """Return the object that is printed."""
        names = ("model", "ceiling", "baselines", "interval")
        return {name: getattr(self, name) for name in names}


def assess(
    groups: PromptGroups,
    score: FloatArray,
    quantiles: Mapping[str, FloatArray],
    baselines: Mapping[str, FloatArray],
    levels: tuple[float, ...],
) -> dict[str, TargetAssessment]:
    """Measure a ranker against every target.

    Parameters
    ----------
    groups
        What is tested on.
    score
        One for each group, shape (G,).
    quantiles
        For each target its quantiles in tokens, shape (G, len(levels)).
    baselines
        Scores by name, shape (G,) each.
    levels
        Of the quantiles: low, median, high.
    """
    found = {}
    for name in TARGETS:
        target = Target.of(groups, name)
        rows = target.row
        best = ceiling(groups, name)
        found[name] = TargetAssessment(
            model=_plain(ranking(score[rows], target) | errors(quantiles[name][rows], target, levels)),
            ceiling=_plain(best or {}),
            baselines={who: _plain(ranking(values[rows], target)) for who, values in baselines.items()},
            interval={
                key: ends
                for key, ends in bootstrap(score[rows], target, groups.prompt_number[rows]).items()
                if np.isfinite(ends).all()
            },
        )
    return found


def errors(quantiles: FloatArray, target: Target, levels: tuple[float, ...]) -> dict[str, float]:
    """Return how far off quantiles are, in log tokens; what was cut off counts with the length at which it was.

    ``log_error`` is the mean, ``log_error_median`` the median absolute error of the median; ``coverage_80`` the share
    between the outer quantiles; ``underestimated`` the share above the median.
    """
    logs, observed = np.log1p(quantiles), np.log1p(target.length)
    error = observed - logs[:, len(levels) // 2]
    return {
        "log_error": float(np.abs(error).mean()),
        "log_error_median": float(np.median(np.abs(error))),
        "pinball": metrics.pinball(logs, observed, levels),
        "coverage_80": metrics.coverage(logs[:, 0], logs[:, -1], observed),
        "underestimated": float((error > 1e-9).mean()),
    }


def group_quantiles(
    shapes: LengthShapes, share: FloatArray, groups: PromptGroups, levels: tuple[float, ...], widening: float
) -> dict[str, FloatArray]:
    """Return quantiles of the mean and of the longest of each group, from draws of its shape. Shape (G, len(levels))."""
    caps = np.where(groups.cap > 0, groups.cap, 2**31 - 1).astype(np.float64)
    found = {name: np.empty((len(groups), len(levels))) for name in ("group_mean", "group_max")}
    for count in np.unique(groups.samples):
        rows = np.flatnonzero(groups.samples == count)
        drawn = shapes.draw(share[rows], int(count), _DRAWS, caps[rows])
        for name, values in (("group_mean", drawn.mean(axis=2)), ("group_max", drawn.max(axis=2))):
            logs = np.quantile(np.log1p(values), levels, axis=1).T
            moved = np.sort(logs + widening * np.linspace(-1, 1, len(levels)), axis=1)
            found[name][rows] = np.clip(np.expm1(moved), 1.0, caps[rows, None])
    return found


def _plain(found: Mapping[str, float]) -> Measured:
    known = defined(found)
    return {key: known.get(key) for key in MEASURES}


def defined(found: Mapping[str, float]) -> Measured:
    """Return measures with None in the place of those that the data does not define: JSON has no NaN."""
    return {key: float(value) if np.isfinite(value) else None for key, value in found.items()}
