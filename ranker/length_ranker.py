"""The ranker: trained on length data, it says of a prompt how long its outputs will be."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from makespan.ranker.baselines import task_means
from makespan.ranker.censoring import group_means, log_lengths
from makespan.ranker.conformal import ConformalWindow
from makespan.ranker.encoders import Progress
from makespan.ranker.evidence import Drift, TextEvidence
from makespan.ranker.hand_features import hand_features
from makespan.ranker.history import History
from makespan.ranker.intervals import LEVELS, QuantileTrees, closer
from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.parameters import Parameters
from makespan.ranker.prediction import HeldOut, Prediction
from makespan.ranker.prompt_groups import PromptGroups
from makespan.ranker.shadow import Verdict, verdict
from makespan.ranker.splits import splits
from makespan.ranker.text_model import MEMBERS, Blend, Features, TextModel
from makespan.ranker.trainable import LEAST_PROMPTS, check_trainable
from makespan.schedulers.types import FloatArray, IntArray

_FOLDS = 5


@dataclass(slots=True, eq=False)
class LengthRanker:
    """A trained ranker.

    Parameters
    ----------
    encoder, encoder_name
        How to get the encoder whose vectors it was trained on, and its full name, which must be the same.
    text, blend
        From features to a predicted log length.
    shapes, evidence, drift
        From predicted log length, earlier epochs and finished siblings to a distribution.
    trees
        Quantiles straight from features, where they were the better intervals on held-out prompts; else None.
    history
        What the training data has shown about its own prompts.
    window
        Widens the intervals to their promise.
    verdict
        Whether it ranks better than chance on prompts it had not seen.
    task_means
        The baseline: mean log length of each task.
    held_out
        What it said of each training prompt before it was trained on that prompt; not saved.
    """

    encoder: str
    encoder_name: str
    text: TextModel
    blend: Blend
    shapes: LengthShapes
    evidence: TextEvidence
    drift: Drift
    history: History
    trees: QuantileTrees | None
    window: ConformalWindow
    verdict: Verdict
    task_means: dict[str, float]
    held_out: HeldOut | None = None

    @classmethod
    def fit(
        cls,
        groups: PromptGroups,
        embedding: FloatArray,
        encoder: str = "none",
        encoder_name: str = "none",
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Train on groups of samples.

        Parameters
        ----------
        groups
            At least 20 different prompts, whose lengths differ and of which some ended before their cap.
        embedding
            Vectors of the prompts, shape (G, d), d being 0 without an encoder.
        encoder, encoder_name
            What made them.
        seed
            Of folds and learners.
        progress
            Called with the number of models fitted and their total.
        """
        check_trainable(groups)
        values = log_lengths(groups)
        target = group_means(values, groups)
        features = features_of(groups.prompt, groups.prompt_tokens, embedding)
        held_out = np.empty((len(groups), len(MEMBERS)))
        quantiles = np.empty((len(groups), len(LEVELS)))
        for done, split in enumerate(splits(groups, "prompt", _FOLDS, seed)):
            if progress is not None:
                progress(done, _FOLDS + 1)
            text = TextModel.fit(features.take(split.train), target[split.train], seed)
            held_out[split.test] = text.members(features.take(split.test))
            chosen = split.train[groups.group]
            trees = QuantileTrees.fit(text.narrow(features)[groups.group[chosen]], values[chosen], seed)
            quantiles[split.test] = trees.predict(text.narrow(features.take(split.test)))
        blend = Blend.fit(held_out, target)
        predicted = blend(held_out)
        shapes = LengthShapes.fit(groups)
        evidence = TextEvidence.fit(shapes, groups, predicted)
        share = shapes.posterior(shapes.log_weight + evidence.log_likelihood(shapes, predicted))
        of_shapes = np.log1p(shapes.quantiles(share, LEVELS, _caps(groups.cap)))
        text = TextModel.fit(features, target, seed)
        intervals = closer(of_shapes, quantiles, values, groups.group)
        window = ConformalWindow(level=LEVELS[-1] - LEVELS[0])
        order = np.random.default_rng(seed).permutation(len(values))
        kept = quantiles if intervals == "trees" else of_shapes
        best = kept[groups.group[order]]
        window.observe(best[:, 0], best[:, -1], values[order])
        narrow = text.narrow(features)[groups.group]
        drift = measured_drift(shapes, groups)
        text_prior = shapes.log_weight + evidence.log_likelihood(shapes, blend(text.members(features)))
        if progress is not None:
            progress(_FOLDS + 1, _FOLDS + 1)
        return cls(
            encoder,
            encoder_name,
            text,
            blend,
            shapes,
            evidence,
            drift,
            History.of_groups(groups, shapes, drift, text_prior),
            QuantileTrees.fit(narrow, values, seed) if intervals == "trees" else None,
            window,
            verdict(predicted, groups.mean_tokens),
            task_means(groups),
            HeldOut(predicted, held_out[:, MEMBERS.index("ridge")], _in_tokens(kept, window.widening, _caps(groups.cap))),
        )

    def check_encoder(self, name: str) -> None:
        """Refuse vectors of another encoder than the one it was trained with."""
        if name != self.encoder_name:
            raise ValueError(f"a ranker needs the vectors it was trained on, {self.encoder_name!r}, got {name!r}")

    def scores(self, features: Features) -> FloatArray:
        """Return predicted log lengths, shape (n,)."""
        return self.blend(self.text.members(features))

    def predict(self, prompts: Sequence[str], prompt_tokens: IntArray, embedding: FloatArray, cap: IntArray) -> Prediction:
        """Return what is expected of prompts by their text alone.

        Parameters
        ----------
        prompts, prompt_tokens
            Texts and their tokens, n of them.
        embedding
            Vectors by the encoder that the ranker was trained with, shape (n, d).
        cap
            Cap on new tokens, 0 where there is none. Shape (n,).
        """
        features = features_of(prompts, prompt_tokens, embedding)
        score = self.scores(features)
        share = self.shapes.posterior(self.log_prior(score))
        caps = _caps(cap)
        if self.trees is None:
            raw = np.log1p(self.shapes.quantiles(share, LEVELS, caps))
        else:
            raw = self.trees.predict(self.text.narrow(features))
        quantiles = _in_tokens(raw, self.window.widening, caps)
        point = np.empty(len(score))
        for each in np.unique(caps):
            same = caps == each
            point[same] = share[same] @ self.shapes.expected(int(min(each, 2**31 - 1)))[:, 0]
        return Prediction(score, point, LEVELS, quantiles)

    def scores_of(self, prompts: Sequence[str], prompt_tokens: IntArray, embedding: FloatArray) -> FloatArray:
        """Return predicted log lengths of prompts, shape (n,)."""
        return self.scores(features_of(prompts, prompt_tokens, embedding))

    def log_prior(self, score: FloatArray) -> FloatArray:
        """Return the log probability of each shape given the text, not normalised. Shape (n, K)."""
        prior: FloatArray = self.shapes.log_weight + self.evidence.log_likelihood(self.shapes, score)
        return prior

    def parameters(self) -> Parameters:
        """Return what is saved."""
        saved = Parameters()
        for name in ("text", "blend", "shapes", "evidence", "drift", "history", "trees", "window", "verdict"):
            part = getattr(self, name)
            if part is not None:
                saved |= part.parameters().named(name)
        names, means = zip(*self.task_means.items(), strict=True)
        return saved | Parameters({"task_means": np.array(means)}, {"tasks": json.dumps(names)})

    @classmethod
    def of(cls, encoder: str, encoder_name: str, saved: Parameters) -> Self:
        """Rebuild from what was saved."""
        trees = saved.under("trees")
        return cls(
            encoder,
            encoder_name,
            TextModel.of(saved.under("text")),
            Blend.of(saved.under("blend")),
            LengthShapes.of(saved.under("shapes")),
            TextEvidence.of(saved.under("evidence")),
            Drift.of(saved.under("drift")),
            History.of(saved.under("history")),
            QuantileTrees.of(trees) if trees.texts else None,
            ConformalWindow.of(saved.under("window")),
            Verdict.of(saved.under("verdict")),
            dict(zip(json.loads(saved.texts["tasks"]), saved.array("task_means").tolist(), strict=True)),
        )


def features_of(prompts: Sequence[str], prompt_tokens: IntArray, embedding: FloatArray) -> Features:
    """Return hand-made features beside the vectors of an encoder."""
    return Features(hand_features(prompts, prompt_tokens), embedding)


def _in_tokens(logs: FloatArray, widening: float, caps: FloatArray) -> FloatArray:
    moved = np.sort(logs + widening * np.array([-1.0, 0.0, 1.0]), axis=1)
    tokens: FloatArray = np.clip(np.expm1(moved), 1.0, caps[:, None])
    return tokens


def _caps(cap: IntArray) -> FloatArray:
    return np.where(cap > 0, cap, 2**31 - 1).astype(np.float64)


def measured_drift(shapes: LengthShapes, groups: PromptGroups) -> Drift:
    """Return the drift between the last two policy versions that share enough prompts, or the usual one."""
    several = len(set(groups.version)) > 1
    for split in reversed(list(splits(groups, "version"))) if several else ():
        earlier, later = groups.take(split.train), groups.take(split.test)
        newest = dict(zip(earlier.prompt_number.tolist(), range(len(earlier)), strict=True))
        pairs = [(newest[p], row) for row, p in enumerate(later.prompt_number.tolist()) if p in newest]
        if len(pairs) >= LEAST_PROMPTS:
            before, after = np.array(pairs).T
            return Drift.fit(shapes, earlier.take(before), later.take(after))
    return Drift.usual(shapes)
