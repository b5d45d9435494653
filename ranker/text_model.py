"""From the features of prompts to a log length: four learners, and their blend."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.decomposition import PCA

from makespan.ranker.linear import KernelRidge, Ridge
from makespan.ranker.parameters import Parameters
from makespan.ranker.trees import Trees
from makespan.schedulers.types import BoolArray, FloatArray

MEMBERS = ("ridge", "kernel", "trees", "ranking")
_COMPONENTS = 48


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What is read off prompts.

    Parameters
    ----------
    hand
        Hand-made features, shape (n, h).
    embedding
        Vectors of an encoder, shape (n, d); d is 0 without one.
    """

    hand: FloatArray
    embedding: FloatArray

    def __len__(self) -> int:
        return len(self.hand)

    @property
    def wide(self) -> FloatArray:
        """All of them, shape (n, d + h)."""
        return np.concatenate([self.embedding, self.hand], axis=1)

    def take(self, rows: BoolArray) -> "Features":
        """Return some rows."""
        return Features(self.hand[rows], self.embedding[rows])


@dataclass(slots=True, eq=False)
class TextModel:
    """Ridge, kernel ridge, boosted trees and LambdaRank, each trained on the mean log length of a prompt.

    Parameters
    ----------
    axes, middle
        Leading components of the embedding, for the trees, shapes (c, d) and (d,).
    """

    axes: FloatArray
    middle: FloatArray
    ridge: Ridge
    kernel: KernelRidge
    trees: Trees
    ranking: Trees

    @classmethod
    def fit(cls, features: Features, target: FloatArray, seed: int = 0) -> Self:
        """Fit all members to targets of shape (n,)."""
        axes, middle = _components(features.embedding, seed)
        narrow = _narrow(features, axes, middle)
        return cls(
            axes,
            middle,
            Ridge.fit(features.wide, target),
            KernelRidge.fit(features.wide, target, seed),
            Trees.fit(narrow, target, seed),
            Trees.fit_ranking(narrow, target, seed),
        )

    def members(self, features: Features) -> FloatArray:
        """Return what each member predicts, in the order of `MEMBERS`, the last one without a unit. Shape (n, 4)."""
        wide, narrow = features.wide, self.narrow(features)
        predicted = [model.predict(wide) for model in (self.ridge, self.kernel)]
        return np.stack([*predicted, *(model.predict(narrow) for model in (self.trees, self.ranking))], axis=1)

    def narrow(self, features: Features) -> FloatArray:
        """Return what trees are given, shape (n, c + h)."""
        return _narrow(features, self.axes, self.middle)

    def parameters(self) -> Parameters:
        """Return what is saved."""
        saved = Parameters({"axes": self.axes, "middle": self.middle})
        for name in MEMBERS:
            saved |= getattr(self, name).parameters().named(name)
        return saved

    @classmethod
    def of(cls, parameters: Parameters) -> Self:
        """Rebuild from what was saved."""
        return cls(
            parameters.array("axes"),
            parameters.array("middle"),
            Ridge.of(parameters.under("ridge")),
            KernelRidge.of(parameters.under("kernel")),
            Trees.of(parameters.under("trees")),
            Trees.of(parameters.under("ranking")),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """The mean of standardised predictions, put back into log lengths.

    Parameters
    ----------
    centre, scale
        Of the predictions of each member for prompts it was not trained on, shape (m,).
    intercept, slope
        From the mean of standardised predictions to log length, by least squares on the same.
    """

    centre: FloatArray
    scale: FloatArray
    intercept: float
    slope: float

    @classmethod
    def fit(cls, held_out: FloatArray, target: FloatArray) -> Self:
        """Fit to predictions for prompts that the members were not trained on, shape (n, m)."""
        centre, spread = held_out.mean(axis=0), held_out.std(axis=0)
        scale = np.where(spread > 1e-9, spread, 1.0)
        score = ((held_out - centre) / scale).mean(axis=1)
        variance = float(score.var())
        slope = max(float(np.mean((score - score.mean()) * target)) / variance, 0.0) if variance > 1e-12 else 0.0
        return cls(centre, scale, float(target.mean() - slope * score.mean()), slope)

    def __call__(self, members: FloatArray) -> FloatArray:
        """Return predicted log lengths, shape (n,)."""
        predicted: FloatArray = self.intercept + self.slope * ((members - self.centre) / self.scale).mean(axis=1)
        return predicted

    def parameters(self) -> Parameters:
        """Return what is saved."""
        return Parameters({"centre": self.centre, "scale": self.scale, "line": np.array([self.intercept, self.slope])})

    @classmethod
    def of(cls, parameters: Parameters) -> Self:
        """Rebuild from what was saved."""
        return cls(parameters.array("centre"), parameters.array("scale"), *parameters.array("line").tolist())


def _components(embedding: FloatArray, seed: int) -> tuple[FloatArray, FloatArray]:
    count = min(_COMPONENTS, embedding.shape[1], len(embedding) - 1)
    if count < 1:
        return np.empty((0, embedding.shape[1])), np.zeros(embedding.shape[1])
    found = PCA(count, svd_solver="randomized", random_state=seed).fit(embedding)
    return np.asarray(found.components_), np.asarray(found.mean_)


def _narrow(features: Features, axes: FloatArray, middle: FloatArray) -> FloatArray:
    return np.concatenate([(features.embedding - middle) @ axes.T, features.hand], axis=1)
