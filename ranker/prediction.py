"""What a ranker says about prompts."""

from dataclasses import dataclass

from makespan.schedulers.types import FloatArray


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


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Predictions by folds, each for prompts that its model had not seen.

    Parameters
    ----------
    score, ridge
        Of the whole blend, and of its ridge alone, shape (G,) each.
    quantiles
        In tokens, shape (G, 3).
    """

    score: FloatArray
    ridge: FloatArray
    quantiles: FloatArray
