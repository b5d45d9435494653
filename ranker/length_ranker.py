"""The ranker: trained on length data, it says of a prompt how long its outputs will be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from makespan.ranker.censoring import group_means, log_lengths
from makespan.ranker.conformal import ConformalWindow
from makespan.ranker.evidence import Drift, TextEvidence
from makespan.ranker.hand_features import hand_features
from makespan.ranker.intervals import LEVELS, QuantileTrees, closer
from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.parameters import Parameters
from makespan.ranker.prompt_groups import PromptGroups
from makespan.ranker.shadow import Verdict, verdict
from makespan.ranker.splits import splits
from makespan.ranker.text_model import Blend, Features, TextModel
from makespan.schedulers.types import FloatArray, IntArray

LEAST_PROMPTS = 20
_FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a ranker says about prompts.

    Parameters
    ----------
    score
        Predicted mean log length; higher means longer. Shape (n,).
    point
        Expected tokens, shape (n,).
    levels, quantiles
        Probabilities, and tokens at each of them, shape (n, len(levels)).
    """

    score: FloatArray
    point: FloatArray
    levels: tuple[float, ...]
    quantiles: FloatArray


@dataclass(slots=True, eq=False)
class LengthRanker:
    """A trained ranker.

    Parameters
    ----------
    encoder
        Name of the encoder whose vectors it was trained on.
    text, blend
        From features to a predicted log length.
    shapes, evidence, drift
        From predicted log length, earlier epochs and finished siblings to a distribution.
    trees
        Quantiles straight from features, where they were the better intervals on held-out prompts; else None.
    window
        Widens the intervals to their promise.
    verdict
        Whether it ranks better than chance on prompts it had not seen.
    """

    encoder: str
    text: TextModel
    blend: Blend
    shapes: LengthShapes
    evidence: TextEvidence
    drift: Drift
    trees: QuantileTrees | None
    window: ConformalWindow
    verdict: Verdict

    @classmethod
    def fit(cls, groups: PromptGroups, embedding: FloatArray, encoder: str = "none", seed: int = 0) -> Self:
        """Train on groups of samples.

        Parameters
        ----------
        groups
            At least 20 different prompts, whose lengths differ and of which some ended before their cap.
        embedding
            Vectors of the prompts, shape (G, d), d being 0 without an encoder.
        encoder
            Name of what made them.
        seed
            Of folds and learners.
        """
        check_trainable(groups)
        values = log_lengths(groups)
        target = group_means(values, groups)
        features = features_of(groups.prompt, groups.prompt_tokens, embedding)
        held_out = np.empty((len(groups), 4))
        quantiles = np.empty((len(groups), len(LEVELS)))
        for split in splits(groups, "prompt", _FOLDS, seed):
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
        best = (quantiles if intervals == "trees" else of_shapes)[groups.group[order]]
        window.observe(best[:, 0], best[:, -1], values[order])
        narrow = text.narrow(features)[groups.group]
        return cls(
            encoder,
            text,
            blend,
            shapes,
            evidence,
            _drift(shapes, groups),
            QuantileTrees.fit(narrow, values, seed) if intervals == "trees" else None,
            window,
            verdict(predicted, groups.mean_tokens),
        )

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
        raw = np.sort(raw + self.window.widening * np.array([-1.0, 0.0, 1.0]), axis=1)
        quantiles = np.clip(np.expm1(raw), 1.0, caps[:, None])
        point = np.empty(len(score))
        for each in np.unique(caps):
            same = caps == each
            point[same] = share[same] @ self.shapes.expected(int(min(each, 2**31 - 1)))[:, 0]
        return Prediction(score, point, LEVELS, quantiles)

    def log_prior(self, score: FloatArray) -> FloatArray:
        """Return the log probability of each shape given the text, not normalised. Shape (n, K)."""
        prior: FloatArray = self.shapes.log_weight + self.evidence.log_likelihood(self.shapes, score)
        return prior

    def parameters(self) -> Parameters:
        """Return what is saved."""
        saved = Parameters()
        for name in ("text", "blend", "shapes", "evidence", "drift", "trees", "window", "verdict"):
            part = getattr(self, name)
            if part is not None:
                saved |= part.parameters().named(name)
        return saved

    @classmethod
    def of(cls, encoder: str, saved: Parameters) -> Self:
        """Rebuild from what was saved."""
        trees = saved.under("trees")
        return cls(
            encoder,
            TextModel.of(saved.under("text")),
            Blend.of(saved.under("blend")),
            LengthShapes.of(saved.under("shapes")),
            TextEvidence.of(saved.under("evidence")),
            Drift.of(saved.under("drift")),
            QuantileTrees.of(trees) if trees.texts else None,
            ConformalWindow.of(saved.under("window")),
            Verdict.of(saved.under("verdict")),
        )


def features_of(prompts: Sequence[str], prompt_tokens: IntArray, embedding: FloatArray) -> Features:
    """Return hand-made features beside the vectors of an encoder."""
    return Features(hand_features(prompts, prompt_tokens), embedding)


def check_trainable(groups: PromptGroups) -> None:
    """Refuse groups from which nothing can be learned."""
    prompts = len(np.unique(groups.prompt_number))
    if prompts < LEAST_PROMPTS:
        raise ValueError(f"a ranker needs at least {LEAST_PROMPTS} different prompts, got {prompts}")
    if groups.capped.all():
        raise ValueError(f"some sample must have ended before its cap, got {len(groups.capped)} that were all cut off")
    if len(np.unique(groups.output_tokens)) == 1:
        raise ValueError(f"lengths must differ for a ranker to rank them, got {groups.output_tokens[0]} tokens everywhere")


def _caps(cap: IntArray) -> FloatArray:
    return np.where(cap > 0, cap, 2**31 - 1).astype(np.float64)


def _drift(shapes: LengthShapes, groups: PromptGroups) -> Drift:
    """Measure the drift between the last two policy versions, where they share enough prompts."""
    for split in reversed(list(splits(groups, "version"))) if len(set(groups.version)) > 1 else ():
        earlier, later = groups.take(split.train), groups.take(split.test)
        newest = dict(zip(earlier.prompt_number.tolist(), range(len(earlier)), strict=True))
        pairs = [(newest[p], row) for row, p in enumerate(later.prompt_number.tolist()) if p in newest]
        if len(pairs) >= LEAST_PROMPTS:
            before, after = np.array(pairs).T
            return Drift.fit(shapes, earlier.take(before), later.take(after))
    return Drift.usual(shapes)
