"""What finished siblings are worth: groups scored after the first one or two of their samples have ended."""

import numpy as np

from makespan.ranker.evaluation import Target, ranking
from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.prompt_groups import PromptGroups
from makespan.schedulers.types import BoolArray, FloatArray, IntArray


def after_probes(
    groups: PromptGroups, count: int, shapes: LengthShapes, log_prior: FloatArray
) -> dict[str, dict[str, float]]:
    """Rank groups by the mean of all their samples once `count` of them have finished.

    As a scheduler would, the probes count among the samples. ``belief`` starts from `log_prior`, shape (G, K), and takes
    every sample to come for the geometric mean of what is believed; ``probes`` is the mean of the finished ones alone,
    ``seer`` the longest of them (Seer's estimate, arXiv 2511.14617).

    Raises
    ------
    ValueError
        When no group has more samples than that.
    """
    enough = groups.samples > count
    if not enough.any():
        raise ValueError(f"probes need groups of more than {count} samples, got at most {groups.samples.max()}")
    chosen = groups.take(enough)
    seen = np.arange(count)[None, :] + chosen.starts[:, None]
    tokens = chosen.output_tokens[seen]
    belief = log_prior[enough] + evidence_of(shapes, tokens, chosen.capped[seen])
    target = Target.of(chosen, "group_mean")
    to_come = (chosen.samples - count) * np.expm1(shapes.posterior(belief) @ shapes.log_mean)
    scores = {
        "belief": (tokens.sum(axis=1) + to_come) / chosen.samples,
        "probes": np.log1p(tokens).mean(axis=1),
        "seer": tokens.max(axis=1).astype(np.float64),
    }
    return {name: ranking(score, target) for name, score in scores.items()}


def evidence_of(shapes: LengthShapes, tokens: IntArray, capped: BoolArray) -> FloatArray:
    """Return what finished samples say, shape (n, K), from arrays of shape (n, count)."""
    place = shapes.bins.of(tokens)
    said = np.where(capped[..., None], shapes.log_beyond.T[place], shapes.log_mass.T[place])
    total: FloatArray = said.sum(axis=1)
    return total
