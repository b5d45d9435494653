"""History from another policy version: reasoning-gym-eval's RL runs, step 400 known and step 800 ranked.

``pytest harness/bench_ranker_versions.py --benchmark --data FOLDER -s`` prints one JSON line for each setting. Nothing is
trained, so that it takes seconds.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from makespan.harness.bench_ranker_outcome import policy_versions
from makespan.harness.bench_ranker_quality import interval, say
from makespan.ranker.ceiling import perfect_ranker
from makespan.ranker.censoring import group_means, log_lengths, variance_components
from makespan.ranker.evaluation import Target, ceiling, mean_over, ranking
from makespan.ranker.evidence import Drift
from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.metrics import tail_auc
from makespan.ranker.probes import after_probes
from makespan.ranker.prompt_groups import PromptGroups
from makespan.schedulers.types import FloatArray

pytestmark = pytest.mark.bench
SETTING = "RL 400 -> 800"
TAIL = 0.1


def bench_history_alone(data: Path) -> None:
    """Rank step 800 by what fifty samples of step 400 say, in every way that can be argued for; none was chosen by this."""
    earlier, later = steps(data)
    target = Target.of(later, "group_mean")
    best = {f"ceiling_{key}": value for key, value in (ceiling(later, "group_mean") or {}).items()}
    usual = earlier.mean_tokens
    for name, score in scores_by_history(earlier, later).items():
        ends = chance_of_tail(score, usual, later.mean_tokens)
        say(f"{SETTING}, history alone, 50 samples, {name}", "none", ranking(score, target) | ends | best)


def bench_what_history_could_tell(data: Path) -> None:
    """Say how well the tail is known by samples of step 800 itself, and how alike the versions are."""
    earlier, later = steps(data)
    say("RL 800, 25 samples for the mean of 25 others", "none", half_for_half(later))
    drawn = [perfect_ranker(later, seed)[1].mean_tokens for seed in range(40)]
    again = [tail_auc(one, other) for one, other in zip(drawn[::2], drawn[1::2], strict=True)]
    say("RL 800, 50 other samples of the same prompts, simulated", "none", {"auc_10": float(np.mean(again))})
    say(f"{SETTING}, likeness of the versions", "none", likeness(earlier, later))


def bench_history_and_siblings(data: Path) -> None:
    """Rank groups of eight by eight samples of step 400 and by what has finished, in six blocks of the fifty samples."""
    earlier, later = steps(data)
    shapes = LengthShapes.fit(earlier)
    drift = Drift.usual(shapes)
    blocks: dict[str, list[dict[str, float]]] = {}
    for block in range(6):
        before, after = (_block(groups, 8 * block, 8) for groups in (earlier, later))
        prior = drift.log_prior(shapes, shapes.log_weight + shapes.log_likelihood(before))
        blocks.setdefault("history alone", []).append(ranking(before.mean_tokens, Target.of(after, "group_mean")))
        blocks.setdefault("ceiling", []).append(ceiling(after, "group_mean") or {})
        for count in (1, 2):
            for source, measures in after_probes(after, count, shapes, prior).items():
                blocks.setdefault(f"history and {count} finished, {source}", []).append(measures)
    for what, measured in blocks.items():
        say(f"{SETTING}, groups of 8, six blocks, {what}", "none", mean_over(measured))


def steps(data: Path) -> tuple[PromptGroups, PromptGroups]:
    """Return the groups of step 400 and of step 800, prompts in the same order."""
    earlier, later = (groups.take(np.argsort(np.array(groups.prompt), kind="stable")) for groups in policy_versions(data))
    if list(earlier.prompt) != list(later.prompt):
        raise ValueError("both steps must have answered the same prompts")
    return earlier, later


def scores_by_history(earlier: PromptGroups, later: PromptGroups) -> dict[str, FloatArray]:
    """Return the scores of every way to read history, shape (G,) each.

    ``mean`` and ``longest`` (which orders prompts as TailSieve's flag does, at every cutoff) are read off; ``belief`` is
    the posterior mean of log length; ``chance of the tail`` that of being among the longest tenth, by draws from the same
    belief; ``exceedance`` the share of samples beyond the 90th percentile of all, shrunk as beta-binomial by the method of
    moments; ``learned drift`` a line from log mean to log mean, fitted for each prompt to all others.
    """
    shapes = LengthShapes.fit(earlier)
    drift = Drift.usual(shapes)
    share = shapes.posterior(drift.log_prior(shapes, shapes.log_weight + shapes.log_likelihood(earlier)))
    return {
        "mean": earlier.mean_tokens,
        "longest": earlier.max_tokens,
        "belief": share @ shapes.log_mean,
        "chance of the tail": _chances(shapes, share, earlier),
        "exceedance": _exceedance(earlier),
        "learned drift": _left_out(group_means(log_lengths(earlier), earlier), np.log(later.mean_tokens)),
    }


def _chances(shapes: LengthShapes, share: FloatArray, groups: PromptGroups, draws: int = 400) -> FloatArray:
    longest = np.full(len(groups), float(groups.output_tokens.max()))
    means = shapes.draw(share, int(groups.samples[0]), draws, longest).mean(axis=2)
    tail = max(1, round(TAIL * len(groups)))
    in_tail = np.argsort(np.argsort(-means, axis=0), axis=0) < tail
    # Whoever is in no draw's tail is ordered by the mean of the draws.
    chances: FloatArray = in_tail.mean(axis=1) + 1e-9 * means.mean(axis=1)
    return chances


def _exceedance(groups: PromptGroups) -> FloatArray:
    count = groups.samples.astype(np.float64)
    beyond = groups.output_tokens >= np.quantile(groups.output_tokens, 1 - TAIL)
    share = np.add.reduceat(beyond, groups.starts) / count
    middle = float(share.mean())
    binomial = middle * (1 - middle) / count
    strength = middle * (1 - middle) / max(float((share.var() - binomial).mean()), 1e-9) - 1
    shrunk: FloatArray = (share * count + strength * middle) / (count + strength)
    return shrunk


def _left_out(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return for every prompt what the line through all others foretells."""
    found = np.empty(len(before))
    for row in range(len(before)):
        others = np.arange(len(before)) != row
        slope, level = np.polyfit(before[others], after[others], 1)
        found[row] = slope * before[row] + level
    return found


def chance_of_tail(score: FloatArray, usual: FloatArray, length: FloatArray, draws: int = 2000) -> dict[str, float]:
    """Return the 95 % intervals, over prompts drawn again, of AUC@10 and of its lead over that of the usual score."""
    low, high = interval(tail_auc, score, length, draws=draws)
    behind, ahead = interval(lambda a, b, truth: tail_auc(a, truth) - tail_auc(b, truth), score, usual, length, draws=draws)
    return {"auc_10_low": low, "auc_10_high": high, "lead_low": behind, "lead_high": ahead}


def half_for_half(groups: PromptGroups, draws: int = 200) -> dict[str, float]:
    """Return AUC@10 of the mean of half of each group's samples against that of the other half."""
    rng, samples = np.random.default_rng(0), groups.output_tokens.reshape(len(groups), -1).astype(np.float64)
    found = []
    for _ in range(draws):
        mixed = rng.permuted(samples, axis=1)
        middle = mixed.shape[1] // 2
        found.append(tail_auc(mixed[:, :middle].mean(axis=1), mixed[:, middle:].mean(axis=1)))
    return {"auc_10": float(np.mean(found))}


def likeness(earlier: PromptGroups, later: PromptGroups) -> dict[str, float]:
    """Return how mean log lengths of two versions correlate, as measured and without what sampling takes away."""
    logs = [log_lengths(groups) for groups in (earlier, later)]
    before, after = (group_means(values, groups) for values, groups in zip(logs, (earlier, later), strict=True))
    between = [variance_components(values, groups.group)[0] for values, groups in zip(logs, (earlier, later), strict=True)]
    shared = float(np.cov(before, after)[0, 1])
    return {
        "correlation": float(np.corrcoef(before, after)[0, 1]),
        "correlation_without_sampling": shared / float(np.sqrt(between[0] * between[1])),
    }


def _block(groups: PromptGroups, first: int, count: int) -> PromptGroups:
    """Return groups of `count` of their samples, from number `first` on."""
    kept = np.concatenate([np.arange(start + first, start + first + count) for start in groups.starts])
    samples = np.full(len(groups), count)
    return replace(groups, samples=samples, output_tokens=groups.output_tokens[kept], capped=groups.capped[kept])
