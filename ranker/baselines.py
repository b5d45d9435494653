"""What a ranker must beat: scores that need no training worth the name."""

from collections.abc import Mapping

import numpy as np

from makespan.ranker.censoring import log_lengths
from makespan.ranker.prompt_groups import PromptGroups
from makespan.schedulers.types import FloatArray


def task_means(groups: PromptGroups) -> dict[str, float]:
    """Return the mean log length of each task, and of all under the empty name."""
    values, group = log_lengths(groups), groups.group
    tasks = np.array(groups.task)[group]
    return {"": float(values.mean())} | {
        task: float(values[tasks == task].mean()) for task in sorted(set(groups.task)) if task
    }


def baselines(groups: PromptGroups, means: Mapping[str, float], seed: int = 0) -> dict[str, FloatArray]:
    """Return the scores of every baseline that the data has what it takes for, one score for each group.

    ``random``; ``prompt_length``; ``task_mean``, the training mean of the prompt's task, where tasks are named; and
    ``previous_epoch``, the mean length of the same prompt in an earlier epoch, where that is given.
    """
    found = {
        "random": np.random.default_rng(seed).random(len(groups)),
        "prompt_length": groups.prompt_tokens.astype(np.float64),
    }
    if any(groups.task):
        found["task_mean"] = np.array([means.get(task, means[""]) for task in groups.task])
    known = np.isfinite(groups.previous_tokens)
    if known.any():
        found["previous_epoch"] = np.where(known, groups.previous_tokens, np.nanmean(groups.previous_tokens))
    return found
