"""Intervals that keep their promise: conformal widening on a sliding window of recent completions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from makespan.ranker.parameters import Parameters
from makespan.schedulers.types import FloatArray


@dataclass(slots=True)
class ConformalWindow:
    """Widens an interval as much as its recent misses ask for (Romano et al., NeurIPS 2019; a window as in MAPS).

    Feed it closed groups only: in a stage under way those that have finished are the short ones.

    Parameters
    ----------
    level
        The share of observations that should lie inside.
    size
        How many observations are remembered.
    """

    level: float = 0.8
    size: int = 500
    _misses: FloatArray = field(init=False)
    _count: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ValueError(f"the level of an interval must lie within (0, 1), got {self.level}")
        if self.size < 10:
            raise ValueError(f"a conformal window must hold at least 10 observations, got {self.size}")
        self._misses = np.empty(self.size)

    def observe(self, low: FloatArray, high: FloatArray, observed: FloatArray) -> None:
        """Remember how far observations lay outside (positive) or inside (negative) of their intervals."""
        self._remember(np.maximum(low - observed, observed - high).tolist())

    @property
    def widening(self) -> float:
        """By how much to move both ends outwards; negative where the intervals are too wide, 0 while little is known."""
        known = np.sort(self._misses[: min(self._count, self.size)])
        rank = int(np.ceil(self.level * (len(known) + 1)))
        return float(known[rank - 1]) if len(known) >= 10 and rank <= len(known) else 0.0

    def parameters(self) -> Parameters:
        """Return what is saved."""
        kept = min(self._count, self.size)
        start = self._count % self.size if self._count > self.size else 0
        misses = np.roll(self._misses, -start)[:kept] if kept == self.size else self._misses[:kept]
        return Parameters({"misses": misses.copy(), "window": np.array([self.level, self.size])})

    @classmethod
    def of(cls, parameters: Parameters) -> Self:
        """Rebuild from what was saved."""
        level, size = parameters.array("window").tolist()
        window = cls(level, int(size))
        window._remember(parameters.array("misses").tolist())
        return window

    def _remember(self, misses: Iterable[float]) -> None:
        for miss in misses:
            self._misses[self._count % self.size] = miss
            self._count += 1
