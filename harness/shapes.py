"""Shapes of output-length distributions, each a rising function of a standard normal score.

Scores of siblings that are correlated normals give lengths that are alike, and every length still has exactly the shape.
"""

from dataclasses import dataclass
from math import erf, exp, isfinite, log, sqrt
from typing import Protocol, Self

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray


class Shape(Protocol):
    """How long outputs are."""

    @property
    def cap(self) -> int:
        """Cap on new tokens."""
        ...

    def lengths(self, scores: FloatArray) -> IntArray:
        """Return the output length at each score."""
        ...


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Log-normal lengths, cut off at the cap.

    Parameters
    ----------
    median
        Tokens at score 0, positive.
    sigma
        Standard deviation of the logarithm, not negative.
    cap
        Cap on new tokens, at least 1.
    """

    median: float
    sigma: float
    cap: int

    def __post_init__(self) -> None:
        if not (isfinite(self.median) and self.median > 0):
            raise ValueError(f"median must be positive and finite, got {self.median}")
        if not (isfinite(self.sigma) and self.sigma >= 0):
            raise ValueError(f"sigma must be finite and not negative, got {self.sigma}")
        if self.cap < 1:
            raise ValueError(f"cap must be at least 1, got {self.cap}")

    @classmethod
    def with_mean(cls, mean: float, sigma: float, cap: int) -> Self:
        """Return the one whose mean after the cut is `mean`, found by bisection."""
        if not 1 <= mean < cap:
            raise ValueError(f"mean must be at least 1 and below the cap of {cap}, got {mean}")
        low, high = 1e-3, 1e9
        for _ in range(200):
            median = sqrt(low * high)
            low, high = (median, high) if cls(median, sigma, cap).mean < mean else (low, median)
        return cls(low, sigma, cap)

    @property
    def mean(self) -> float:
        """Mean length of the distribution, in closed form."""
        if self.sigma == 0:
            return min(self.median, self.cap)
        score = log(self.cap / self.median) / self.sigma
        below = self.median * exp(self.sigma**2 / 2) * normal_cdf(score - self.sigma)
        return below + self.cap * normal_cdf(-score)

    def lengths(self, scores: FloatArray) -> IntArray:
        """Return the output length at each score."""
        # A score that overflows is beyond every cap.
        with np.errstate(over="ignore"):
            tokens = self.median * np.exp(self.sigma * scores)
        return _rounded(np.minimum(tokens, self.cap))


@dataclass(frozen=True, slots=True)
class CodeMath:
    """The shape of StreamRL's code and mathematics prompts under DeepSeek-R1, scaled so that it ends at the cap.

    The paper shows a plot (Figure 7): a mode near 2K, a long tail up to 20K, a small bump beyond 13K. Of the lengths at
    cap 20K here, 82 % are log-normal with median 2,867 and sigma 0.6, which has its mode at 2,000; 10 % are uniform from
    7K to 20K; 8 % are normal around 16K with a standard deviation of 1.6K. The three weights and the bump are ours.

    Parameters
    ----------
    cap
        Cap on new tokens, at least 1.
    """

    cap: int

    def __post_init__(self) -> None:
        if self.cap < 1:
            raise ValueError(f"cap must be at least 1, got {self.cap}")

    def lengths(self, scores: FloatArray) -> IntArray:
        """Return the output length at each score."""
        tokens = np.arange(1, _CODE_MATH_CAP + 1, dtype=np.float64)
        shares = (
            0.82 * _normal_cdfs(np.log(tokens / 2867) / 0.6)
            + 0.10 * np.clip((tokens - 7000) / (_CODE_MATH_CAP - 7000), 0, 1)
            + 0.08 * _normal_cdfs((tokens - 16000) / 1600)
        )
        found = tokens[np.minimum(np.searchsorted(shares, _normal_cdfs(scores)), _CODE_MATH_CAP - 1)]
        return _rounded(found * self.cap / _CODE_MATH_CAP)


_CODE_MATH_CAP = 20_000


def normal_cdf(score: float) -> float:
    """Return the share of standard normal scores below `score`."""
    return (1 + erf(score / sqrt(2))) / 2


def _normal_cdfs(scores: FloatArray) -> FloatArray:
    return np.array([normal_cdf(score) for score in scores.tolist()], dtype=np.float64)


def _rounded(tokens: FloatArray) -> IntArray:
    lengths: IntArray = np.maximum(np.rint(tokens), 1).astype(np.int64)
    return lengths
