"""What is believed about output lengths, and who provides it."""

import sys
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from makespan.schedulers.requests import Requests
from makespan.schedulers.types import FloatArray, IntArray, at_least


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Believed output length of each request.

    Parameters
    ----------
    point
        Tokens, positive and finite. Shape (n,).
    basis
        What it rests on, in a word or two.
    levels
        Probabilities of the quantile columns, increasing within (0, 1); empty when there are none.
    quantiles
        Tokens at each level, shape (n, len(levels)), or None.
    beforehand
        Whether the source knows something about single requests before any of them has run.
    """

    point: FloatArray
    basis: str
    levels: tuple[float, ...] = ()
    quantiles: FloatArray | None = None
    beforehand: bool = True

    def __post_init__(self) -> None:
        if not np.isfinite(self.point).all():
            raise ValueError(f"estimates must be finite, got {self.point[~np.isfinite(self.point)][0]}")
        at_least(self.point, sys.float_info.min, "estimates")
        if self.quantiles is None:
            if self.levels:
                raise ValueError(f"quantile levels need quantiles, got levels {self.levels} alone")
            return
        if self.quantiles.shape != (len(self.point), len(self.levels)):
            raise ValueError(f"quantiles must have shape {(len(self.point), len(self.levels))}, got {self.quantiles.shape}")
        if not all(0 < a < 1 for a in self.levels) or list(self.levels) != sorted(set(self.levels)):
            raise ValueError(f"quantile levels must increase within (0, 1), got {self.levels}")


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """Requests that have just finished, and how many tokens each generated.

    Parameters
    ----------
    rows
        Rows of the finished requests, shape (k,).
    output_tokens
        Tokens each generated, shape (k,).
    """

    rows: IntArray
    output_tokens: IntArray


class Information(Protocol):
    """Knows something about output lengths and learns from what it observes."""

    def estimate(self, requests: Requests) -> Estimates:
        """Return the present belief about every request; the same object when nothing has changed."""
        ...

    def observe(self, event: Finished) -> None:
        """Take note of requests that have finished."""
        ...


@runtime_checkable
class Watching(Protocol):
    """An information source that also learns from requests that are still running."""

    def watch(self, generated: IntArray) -> None:
        """Take note of how many tokens each request has generated so far, shape (n,); called before each decision."""
        ...
