"""What finished siblings are worth: groups scored after the first one or two of their samples have ended."""

import numpy as np

from makespan.ranker.ceiling import perfect_ranker
from makespan.ranker.evaluation import SIMULATIONS, Target, mean_over, ranking
from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.prompt_groups import PromptGroups
from makespan.schedulers.types import BoolArray, FloatArray, IntArray


def after_probes(
    groups: PromptGroups, count: int, shapes: LengthShapes, log_prior: FloatArray
) -> dict[str, dict[str, float]]:
    """Rank groups by the mean of all their samples once `count` of them have finished.

    As a scheduler would, the probes count among the samples. ``belief`` starts from `log_prior`, shape (G, K), and takes
    every sample to come for the geometric mean of what is believed; ``probes`` is the mean of the finished ones alone,
    ``seer`` the longest of them (Seer's estimate, arXiv 2511.14617). ``ceiling`` is what a ranker would score that knew
    what is to be expected of each prompt, as in `perfect_ranker`, and saw the same number finished.

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
    found = {name: ranking(score, target) for name, score in scores.items()}
    return found | {"ceiling": probe_ceiling(chosen, count)}


def probe_ceiling(groups: PromptGroups, count: int) -> dict[str, float]:
    """Return what knowing every prompt's expected length and `count` finished samples scores, on simulated groups."""
    simulated = [perfect_ranker(groups, seed)[1] for seed in range(SIMULATIONS)]
    means = np.stack([drawn.mean_tokens for drawn in simulated])
    measured = []
    for drawn, mean in zip(simulated, means, strict=True):
        # What is expected of a prompt must not know this draw.
        expected = (means.sum(axis=0) - mean) / (len(means) - 1)
        finished = drawn.output_tokens[np.arange(count)[None, :] + drawn.starts[:, None]].sum(axis=1)
        score = (finished + (drawn.samples - count) * expected) / drawn.samples
        measured.append(ranking(score, Target.of(drawn, "group_mean")))
    return mean_over(measured)


def evidence_of(shapes: LengthShapes, tokens: IntArray, capped: BoolArray) -> FloatArray:
    """Return what finished samples say, shape (n, K), from arrays of shape (n, count)."""
    place = shapes.bins.of(tokens)
    said = np.where(capped[..., None], shapes.log_beyond.T[place], shapes.log_mass.T[place])
    total: FloatArray = said.sum(axis=1)
    return total
