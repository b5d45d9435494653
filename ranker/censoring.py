"""Log lengths where some outputs were cut off at their cap: such a sample is at least that long, and no more is known."""

import numpy as np
from scipy.special import log_ndtr

from makespan.ranker.prompt_groups import PromptGroups
from makespan.schedulers.types import FloatArray, IntArray

_ROUNDS = 30


def log_lengths(groups: PromptGroups) -> FloatArray:
    """Return ``log(1 + tokens)`` of every sample; of a capped one what is to be expected beyond its cap.

    Within a group log lengths are taken as normal around the mean of the group, and the means as normal around their
    own mean: the random-effects Tobit model (Tobin, Econometrica 1958), fitted by expectation and maximisation. The
    shrinkage is what keeps a group finite whose samples were all capped.

    Raises
    ------
    ValueError
        When every sample was capped: then nothing says how long any is.
    """
    if groups.capped.all():
        raise ValueError(f"at least one sample must have ended before its cap, got {len(groups.capped)} capped ones")
    known: FloatArray = np.log1p(groups.output_tokens.astype(np.float64))
    if not groups.capped.any():
        return known
    group, capped = groups.group, groups.capped
    filled = known.copy()
    spread = np.zeros(len(known))
    for _ in range(_ROUNDS):
        between, within = variance_components(filled, group, spread)
        count = np.bincount(group)
        centre = filled.mean()
        mean = np.bincount(group, weights=filled) / count
        weight = between / (between + within / count)
        believed = centre + weight * (mean - centre)
        deviation = np.sqrt(within + weight * within / count)[group[capped]]
        at = (known[capped] - believed[group[capped]]) / deviation
        # The mean and the variance of a normal variable above `at` (Mills' ratio).
        hazard = np.exp(-0.5 * at**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-at))
        filled[capped] = believed[group[capped]] + deviation * hazard
        spread[capped] = deviation**2 * np.maximum(1 + at * hazard - hazard**2, 0)
    return np.maximum(filled, known)


def variance_components(values: FloatArray, group: IntArray, spread: FloatArray | None = None) -> tuple[float, float]:
    """Return the variance between groups and within them, by the method of moments (one-way analysis of variance).

    Parameters
    ----------
    values, group
        Values and their groups, numbered from 0. Shape (n,).
    spread
        Variance of each value where it is itself uncertain. Shape (n,).

    Notes
    -----
    Where no group has two samples, or they do not differ, the share within is taken as a quarter: what TailSieve
    measured for RL rollouts (26 % of the variance of log length is sampling).
    """
    count = np.bincount(group)
    mean = np.bincount(group, weights=values) / count
    extra = 0.0 if spread is None else float(spread.sum())
    freedom = len(values) - len(count)
    total = float(values.var() + extra / len(values))
    if freedom == 0:
        return 0.75 * total, max(0.25 * total, 1e-9)
    within = max((float(((values - mean[group]) ** 2).sum()) + extra) / freedom, 1e-9)
    if len(count) == 1:
        return 1e-9, within
    typical = (len(values) - float((count**2).sum()) / len(values)) / (len(count) - 1)
    middle = float(np.average(mean, weights=count))
    square = float((count * (mean - middle) ** 2).sum()) / (len(count) - 1)
    return max((square - within) / typical, 1e-9), within


def group_means(values: FloatArray, groups: PromptGroups) -> FloatArray:
    """Return the mean of each group, shape (G,)."""
    means: FloatArray = np.add.reduceat(values, groups.starts) / groups.samples
    return means
