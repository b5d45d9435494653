"""Gradient-boosted trees by LightGBM on hand-made features and the leading components of an embedding."""

from dataclasses import dataclass
from typing import Any, Self

import lightgbm
import numpy as np

from makespan.ranker.parameters import Parameters
from makespan.schedulers.types import FloatArray

LEVELS = 16
"""Relevance levels of a list: LambdaRank needs integers, and lengths are cut into so many within each list."""

LIST = 64
DRAWS = 2

_COMMON: dict[str, Any] = {
    "learning_rate": 0.04,
    "num_leaves": 15,
    "min_data_in_leaf": 8,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 2.0,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
_ROUNDS = 200


@dataclass(slots=True, eq=False)
class Trees:
    """Boosted trees; predictions are log lengths, or scores without a unit where they were trained to rank."""

    booster: lightgbm.Booster

    @classmethod
    def fit(cls, features: FloatArray, target: FloatArray, seed: int = 0) -> Self:
        """Fit least squares."""
        data = lightgbm.Dataset(features, target)
        return cls(lightgbm.train(_COMMON | {"objective": "regression", "seed": seed}, data, _ROUNDS))

    @classmethod
    def fit_quantile(cls, features: FloatArray, target: FloatArray, level: float, seed: int = 0) -> Self:
        """Fit one quantile by the pinball loss."""
        objective = {"objective": "quantile", "alpha": level, "seed": seed}
        return cls(lightgbm.train(_COMMON | objective, lightgbm.Dataset(features, target), _ROUNDS))

    @classmethod
    def fit_ranking(cls, features: FloatArray, target: FloatArray, seed: int = 0) -> Self:
        """Fit LambdaRank (Burges 2010) on random lists of 64.

        The gain of a level is linear and the truncation is the whole list: exponential gains on the head of a list,
        which are the defaults for retrieval, lose order in the body.
        """
        rng = np.random.default_rng(seed)
        lists = [part for _ in range(DRAWS) for part in _dealt(rng.permutation(len(target)))]
        rows = np.concatenate(lists)
        levels = np.concatenate([_levels(target[part]) for part in lists])
        data = lightgbm.Dataset(features[rows], levels, group=[len(part) for part in lists])
        objective = {
            "objective": "lambdarank",
            "label_gain": list(range(LEVELS)),
            "lambdarank_truncation_level": LIST + LIST // 2,
            "seed": seed,
        }
        return cls(lightgbm.train(_COMMON | objective, data, _ROUNDS))

    def predict(self, features: FloatArray) -> FloatArray:
        """Return one prediction for each row."""
        return np.asarray(self.booster.predict(features, num_threads=1), dtype=np.float64)

    def parameters(self) -> Parameters:
        """Return LightGBM's own text."""
        return Parameters(texts={"trees": self.booster.model_to_string()})

    @classmethod
    def of(cls, parameters: Parameters) -> Self:
        """Rebuild from LightGBM's text."""
        return cls(lightgbm.Booster(model_str=parameters.texts["trees"]))


def _dealt(order: Any) -> list[Any]:
    return np.array_split(order, max(1, round(len(order) / LIST)))


def _levels(values: FloatArray) -> Any:
    """Cut the values of a list into levels of equal size; equal values get equal levels."""
    edges = np.quantile(values, np.arange(1, LEVELS) / LEVELS)
    return np.searchsorted(edges, values, side="left")
