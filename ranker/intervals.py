"""Quantiles straight from features, and which intervals are the better ones."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from makespan.ranker.metrics import pinball
from makespan.ranker.parameters import Parameters
from makespan.ranker.trees import Trees
from makespan.schedulers.types import FloatArray, IntArray

LEVELS = (0.1, 0.5, 0.9)


@dataclass(slots=True, eq=False)
class QuantileTrees:
    """One set of boosted trees for each level, trained on the log lengths of single samples."""

    trees: tuple[Trees, ...]

    @classmethod
    def fit(cls, features: FloatArray, values: FloatArray, seed: int = 0) -> Self:
        """Fit to rows of features, one for each sample, and log lengths."""
        return cls(tuple(Trees.fit_quantile(features, values, level, seed) for level in LEVELS))

    def predict(self, features: FloatArray) -> FloatArray:
        """Return log lengths at each level, increasing, shape (n, len(LEVELS))."""
        return np.sort(np.stack([trees.predict(features) for trees in self.trees], axis=1), axis=1)

    def parameters(self) -> Parameters:
        """Return what is saved."""
        saved = Parameters()
        for level, trees in zip(LEVELS, self.trees, strict=True):
            saved |= trees.parameters().named(f"{level}")
        return saved

    @classmethod
    def of(cls, saved: Parameters) -> Self:
        """Rebuild from what was saved."""
        return cls(tuple(Trees.of(saved.under(f"{level}")) for level in LEVELS))


def closer(of_shapes: FloatArray, of_trees: FloatArray, values: FloatArray, group: IntArray) -> Literal["shapes", "trees"]:
    """Return which quantiles, one row for each group, have the lower pinball loss on log lengths of samples."""
    losses = [pinball(quantiles[group], values, LEVELS) for quantiles in (of_shapes, of_trees)]
    return "shapes" if losses[0] <= losses[1] else "trees"
