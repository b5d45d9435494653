"""How good any ranker could be that sees the prompt only: one length is a draw, and its siblings are the best predictor."""

import numpy as np

from makespan.ranker.censoring import group_means, log_lengths, variance_components
from makespan.ranker.prompt_groups import PromptGroups
from makespan.schedulers.types import FloatArray, IntArray

_NEIGHBOURS = 25


def siblings_mean(groups: PromptGroups) -> FloatArray:
    """Return for every sample the mean log length of its siblings, itself left out; NaN for an only sample.

    Its score is the ceiling per sample. With few siblings that is an underestimate, since their mean is noisy itself.
    """
    values, group = log_lengths(groups), groups.group
    others = groups.samples[group] - 1
    left: FloatArray = np.add.reduceat(values, groups.starts)[group] - values
    return np.where(others > 0, left / np.maximum(others, 1), np.nan)


def perfect_ranker(groups: PromptGroups, seed: int) -> tuple[FloatArray, PromptGroups]:
    """Return prompt means, and groups of samples drawn around them: what a perfect prompt-only ranker would face.

    The means are those of the groups, shrunk so that their variance is that between prompts (method of moments). The
    samples of a group are drawn from the residuals of the 25 groups whose means are nearest, so that their spread may
    depend on the mean and need not be normal. The score of the means on the drawn samples is the ceiling for the mean
    and the longest of a group.

    Raises
    ------
    ValueError
        When no group has two samples: then nothing is known about the spread within a prompt.
    """
    several = groups.samples > 1
    if not several.any():
        raise ValueError("a ceiling needs prompts with at least two samples, got one of each")
    values = log_lengths(groups)
    group, count = groups.group, groups.samples
    mean = group_means(values, groups)
    between, within = variance_components(values, group)
    centre = float(mean.mean())
    true = centre + (mean - centre) * np.sqrt(between / (between + within / count))
    residual = (values - mean[group]) * np.sqrt(count / np.maximum(count - 1, 1))[group]
    drawn = true[group] + residual[_neighbours(true, groups, np.random.default_rng(seed))]
    tokens = np.maximum(np.rint(np.expm1(np.minimum(drawn, 20.0))), 1).astype(np.int64)
    cap = np.where(groups.cap > 0, groups.cap, max(int(groups.output_tokens.max()), 1))[group]
    simulated = PromptGroups(
        prompt=groups.prompt,
        prompt_number=groups.prompt_number,
        prompt_tokens=groups.prompt_tokens,
        task=groups.task,
        domain=groups.domain,
        version=groups.version,
        samples=count,
        output_tokens=np.minimum(tokens, cap),
        capped=tokens >= cap,
        cap=groups.cap,
        previous_tokens=groups.previous_tokens,
    )
    return true, simulated


def _neighbours(true: FloatArray, groups: PromptGroups, rng: np.random.Generator) -> IntArray:
    """Return for every sample another one, of a group with siblings and with a mean close to that of its own group."""
    donors = np.flatnonzero(groups.samples > 1)
    donors = donors[np.argsort(true[donors], kind="stable")]
    place = np.searchsorted(true[donors], true)[groups.group]
    step = rng.integers(-(_NEIGHBOURS // 2), _NEIGHBOURS // 2 + 1, len(place))
    donor = donors[np.clip(place + step, 0, len(donors) - 1)]
    chosen: IntArray = groups.starts[donor] + rng.integers(0, groups.samples[donor])
    return chosen
