"""A ranker measured on data: what the command line prints and the page draws."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from makespan.ranker.assessment import Measured, TargetAssessment, assess, defined, group_quantiles
from makespan.ranker.baselines import baselines, task_means
from makespan.ranker.embedding_cache import text_key
from makespan.ranker.intervals import LEVELS
from makespan.ranker.length_ranker import LengthRanker, features_of
from makespan.ranker.probes import after_probes
from makespan.ranker.prompt_groups import PromptGroups
from makespan.schedulers.types import BoolArray, FloatArray

SCHEMA = "makespan.ranker/1"


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """How a ranker did on one set of groups.

    Parameters
    ----------
    data, setting
        What it was measured on, and in which situation: in words.
    ranker
        Which one.
    groups, score, quantiles
        What was tested on, and what was predicted: scores (G,) and sample quantiles in tokens (G, 3).
    baseline_scores
        By name, shape (G,) each.
    targets
        The measures.
    probes
        By number of finished siblings: the measures of belief, probes and Seer's estimate.
    counts
        How many prompts were unseen, known from an earlier version, and left out because they were trained on.
    seconds
        Wall time of all.
    """

    data: str
    setting: str
    ranker: LengthRanker
    groups: PromptGroups
    score: FloatArray
    quantiles: FloatArray
    baseline_scores: dict[str, FloatArray]
    targets: dict[str, TargetAssessment]
    probes: dict[str, dict[str, Measured]]
    counts: dict[str, int]
    seconds: float

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        of = self.targets["group_mean"]
        best = f"; a perfect prompt-only ranker would find {of.ceiling['recall_20']:.0%}" if of.ceiling["recall_20"] else ""
        return (
            f"{self.data}: {self.setting} The ranker is {self.ranker.verdict}. It finds {of.model['recall_20']:.0%} of the "
            f"longest fifth of the prompts{best}; chance is 20 %."
        )

    def as_json(self) -> dict[str, Any]:
        """Return the document that ``--json`` prints."""
        targets = {name: found.as_json() for name, found in self.targets.items()}
        return {"schema": SCHEMA, **self._origin(), "targets": targets, "after_probes": self.probes}

    def facts(self) -> dict[str, Any]:
        """Return what is noted in the saved model."""
        return self._origin() | {"group_mean": self.targets["group_mean"].model}

    def _origin(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "setting": self.setting,
            "encoder": self.ranker.encoder_name,
            "verdict": str(self.ranker.verdict),
            "proven": self.ranker.verdict.proven,
            "groups": len(self.groups),
            "samples": len(self.groups.output_tokens),
            **self.counts,
            "seconds": self.seconds,
        }


def measure_training(ranker: LengthRanker, groups: PromptGroups, data: str, seconds: float) -> Measurement:
    """Measure what a ranker said of its training prompts before it was trained on them."""
    if ranker.held_out is None:
        raise ValueError("only a ranker just trained remembers what it said of held-out prompts, got a saved one")
    score, quantiles = ranker.held_out.score, ranker.held_out.quantiles
    counts = {"unseen": len(groups), "known": 0, "left_out": 0}
    prior = ranker.log_prior(score)
    scores = baselines(groups, task_means(groups)) | {"ridge": ranker.held_out.ridge}
    setting = "Five folds by prompt; every prompt was scored by a ranker that had not seen it."
    return _measured(ranker, groups, data, setting, score, quantiles, prior, scores, counts, seconds)


def measure(ranker: LengthRanker, groups: PromptGroups, embedding: FloatArray, data: str, started: float) -> Measurement:
    """Measure a saved ranker: on unseen prompts if there are any, else on prompts known from an earlier policy version.

    Raises
    ------
    ValueError
        When all groups were trained on, so that nothing could be learned from the result, or a single one is left, with
        which none can be compared.
    """
    known = ranker.history.knows(groups.prompt)
    trained = _trained_on(ranker, groups) & known
    counts = {"unseen": int((~known).sum()), "known": int((known & ~trained).sum()), "left_out": int(trained.sum())}
    chosen = ~known if counts["unseen"] else known & ~trained
    if not chosen.any():
        raise ValueError(
            f"a ranker must be measured on groups that it was not trained on, got {len(groups)} of {data} that all were; "
            "another policy version of the same prompts is named by #version_field=FIELD"
        )
    if chosen.sum() < 2:
        raise ValueError(f"a ranking needs at least two groups, got 1 of {data} that the ranker was not trained on")
    means = ranker.task_means
    groups, embedding = groups.take(chosen), embedding[chosen]
    said = ranker.predict(groups.prompt, groups.prompt_tokens, embedding, groups.cap)
    if counts["unseen"]:
        setting = "Prompts that it had not seen."
        score, quantiles, prior = said.score, said.quantiles, ranker.log_prior(said.score)
    else:
        setting = "Prompts known from an earlier policy version."
        prior = ranker.history.log_prior(groups.prompt, ranker.shapes, ranker.drift, ranker.log_prior(said.score))
        share = ranker.shapes.posterior(prior)
        score = share @ ranker.shapes.log_mean
        caps = np.where(groups.cap > 0, groups.cap, 2**31 - 1).astype(np.float64)
        quantiles = ranker.shapes.quantiles(share, LEVELS, caps)
    ridge = ranker.text.ridge.predict(features_of(groups.prompt, groups.prompt_tokens, embedding).wide)
    scores = baselines(groups, means) | {"ridge": ridge}
    if not counts["unseen"]:
        scores["text_only"] = said.score
    return _measured(ranker, groups, data, setting, score, quantiles, prior, scores, counts, perf_counter() - started)


def _measured(
    ranker: LengthRanker,
    groups: PromptGroups,
    data: str,
    setting: str,
    score: FloatArray,
    quantiles: FloatArray,
    prior: FloatArray,
    scores: dict[str, FloatArray],
    counts: dict[str, int],
    seconds: float,
) -> Measurement:
    share = ranker.shapes.posterior(prior)
    of_group = group_quantiles(ranker.shapes, share, groups, LEVELS, ranker.window.widening)
    most = int(groups.samples.max())
    return Measurement(
        data=data,
        setting=setting,
        ranker=ranker,
        groups=groups,
        score=score,
        quantiles=quantiles,
        baseline_scores=scores,
        targets=assess(groups, score, {"sample": quantiles, **of_group}, scores, LEVELS),
        probes={
            str(k): {who: defined(found) for who, found in after_probes(groups, k, ranker.shapes, prior).items()}
            for k in (1, 2)
            if most > k
        },
        counts=counts,
        seconds=seconds,
    )


def _trained_on(ranker: LengthRanker, groups: PromptGroups) -> BoolArray:
    """Return which groups are of a version that the ranker was trained on, or of an older one."""
    last = ranker.history.version
    return np.array(
        [last.get(text_key(text), version) == version for text, version in zip(groups.prompt, groups.version, strict=True)],
        dtype=np.bool_,
    )
