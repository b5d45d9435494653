"""Multilevel feedback: who has been served least goes first, in levels of tokens generated."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class FeedbackLevels:
    """Lower levels first, and within a level in order of arrival.

    Parameters
    ----------
    quantum_tokens
        Tokens that a request generates on the first level. 400 is that of Autellix as JITServe's code implements it.
    growth
        How many times longer each level is than the one before: 1 for least attained service (Autellix, arXiv
        2502.13965), 2 for FastServe's queue as in vllm-ltr's code, where quanta are seconds (0.01 or 0.03 of them).

    Notes
    -----
    It decides something only about requests that come back: one that has never run is on the first level.
    """

    quantum_tokens: int = 400
    growth: float = 1.0

    def __post_init__(self) -> None:
        if self.quantum_tokens < 1:
            raise ValueError(f"a quantum must be at least 1 token, got {self.quantum_tokens}")
        if not 1 <= self.growth <= 1024:
            raise ValueError(f"the growth of quanta must lie between 1 and 1024, got {self.growth}")

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return the level, and by how much of 1 the arrival is late."""
        arrival = view.requests.arrival[rows]
        return self._level(view.generated[rows]) + arrival / (1 + arrival)

    def _level(self, generated: IntArray) -> FloatArray:
        quanta = generated / self.quantum_tokens
        if self.growth == 1:
            level: FloatArray = np.floor(quanta)
            return level
        # Level k ends after (growth^(k + 1) - 1) / (growth - 1) quanta.
        ends = (self.growth ** np.arange(1, 64) - 1) / (self.growth - 1)
        return np.searchsorted(ends, quanta, side="right").astype(np.float64)
