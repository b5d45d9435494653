"""A ranker measured: against one sample, the mean and the longest of a group, beside ceiling and baselines."""

from dataclasses import dataclass

import numpy as np

from makespan.ranker import metrics
from makespan.ranker.ceiling import perfect_ranker, siblings_mean
from makespan.ranker.prompt_groups import PromptGroups, codes
from makespan.schedulers.types import BoolArray, FloatArray, IntArray

TARGETS = ("sample", "group_mean", "group_max")
RANKING = (
    "recall_20",
    "recall_10",
    "recall_5",
    "token_recall_20",
    "tau",
    "tau_within_task",
    "tau_within_window",
    "auc_10",
)
WINDOW_PROMPTS = 64
SIMULATIONS = 10
_RESAMPLES = 200


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The lengths that a score is held against.

    Parameters
    ----------
    length
        Tokens. Shape (n,).
    capped
        Where that is only a lower bound: a sample that was cut off, the longest of a group where it was, the mean of a
        group where all were. Shape (n,).
    row
        The group of each. Shape (n,).
    task, window
        Strata within which requests compete: the task, and 64 prompts in the order of the file. Shape (n,).
    """

    length: FloatArray
    capped: BoolArray
    row: IntArray
    task: IntArray
    window: IntArray

    @classmethod
    def of(cls, groups: PromptGroups, name: str) -> "Target":
        """Return one of `TARGETS`."""
        row = groups.group if name == "sample" else np.arange(len(groups))
        task, window = codes(groups.task)[row], row // WINDOW_PROMPTS
        starts = groups.starts
        if name == "sample":
            return cls(groups.output_tokens.astype(np.float64), groups.capped, row, task, window)
        if name == "group_mean":
            return cls(groups.mean_tokens, np.logical_and.reduceat(groups.capped, starts), row, task, window)
        longest = groups.max_tokens
        cut = groups.capped & (groups.output_tokens == longest[groups.group])
        return cls(longest, np.logical_or.reduceat(cut, starts), row, task, window)

    def take(self, chosen: IntArray | BoolArray) -> "Target":
        """Return some of it."""
        return Target(*(getattr(self, name)[chosen] for name in ("length", "capped", "row", "task", "window")))


def ranking(score: FloatArray, target: Target) -> dict[str, float]:
    """Return every metric of `RANKING` for one score per length; NaN where nothing can be compared."""
    within = {
        f"tau_within_{name}": metrics.tau(score, target.length, target.capped, getattr(target, name))
        for name in ("task", "window")
    }
    found = _pooled(score, target) | within
    return {key: found[key] for key in RANKING}


def ceiling(groups: PromptGroups, name: str) -> dict[str, float] | None:
    """Return what the best prompt-only ranker would score, or None where no prompt has two samples."""
    if not (groups.samples > 1).any():
        return None
    if name == "sample":
        best, target = siblings_mean(groups), Target.of(groups, name)
        known = np.isfinite(best)
        return ranking(best[known], target.take(known))
    simulated = []
    for seed in range(SIMULATIONS):
        best, drawn = perfect_ranker(groups, seed)
        simulated.append(ranking(best, Target.of(drawn, name)))
    return mean_over(simulated)


def bootstrap(score: FloatArray, target: Target, prompt: IntArray, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of the ranking metrics by resampling prompts (the percentile bootstrap, clustered).

    A metric that no draw defines has no interval: both of its ends are NaN.

    Parameters
    ----------
    score, target
        One score for each length of the target.
    prompt
        The prompt of each length, shape (n,): a prompt is drawn with all that belongs to it.
    seed
        Of the draws.
    """
    order = np.argsort(prompt, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(prompt[order])) + 1)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(_RESAMPLES):
        chosen = np.concatenate([members[k] for k in rng.integers(0, len(members), len(members))])
        drawn.append(_pooled(score[chosen], target.take(chosen)))
    return {key: _middle([each[key] for each in drawn]) for key in drawn[0]}


def _pooled(score: FloatArray, target: Target) -> dict[str, float]:
    shares = {f"recall_{round(100 * tail)}": metrics.recall(score, target.length, tail) for tail in metrics.TAILS}
    return shares | {
        "token_recall_20": metrics.token_recall(score, target.length, 0.20),
        "tau": metrics.tau(score, target.length, target.capped),
        "auc_10": metrics.tail_auc(score, target.length),
    }


def _middle(drawn: list[float]) -> tuple[float, float]:
    known = np.array(drawn)[np.isfinite(drawn)]
    low, high = np.quantile(known, (0.025, 0.975)).tolist() if len(known) else (np.nan, np.nan)
    return low, high


def mean_over(measured: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over folds or simulations in which it is defined, NaN where it is in none."""
    values = {key: np.array([each[key] for each in measured]) for key in measured[0]}
    known = {key: value[np.isfinite(value)] for key, value in values.items()}
    return {key: float(value.mean()) if len(value) else float("nan") for key, value in known.items()}
