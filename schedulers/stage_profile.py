"""How long a stage takes on how many GPUs: profiled points, and a curve through them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike

from makespan.schedulers.types import FloatArray


@dataclass(frozen=True, slots=True, order=True)
class StagePoint:
    """One measurement: `seconds` of a stage of `batch` samples on `gpus`."""

    gpus: int
    batch: int
    seconds: float

    def __post_init__(self) -> None:
        if self.gpus < 1 or self.batch < 1:
            raise ValueError(f"a stage must be profiled on at least 1 GPU and sample, got {self.gpus} and {self.batch}")
        if not (isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"a stage must take positive and finite time, got {self.seconds} s on {self.gpus} GPUs")


@dataclass(frozen=True, slots=True)
class StageProfile:
    """P_gen or P_train of StreamRL (arXiv 2504.15930, section 7.1): a few points, and an estimate between them.

    Parameters
    ----------
    points
        Measurements; of one batch size no two on the same number of GPUs.
    """

    points: tuple[StagePoint, ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("a stage profile needs at least one point, got 0")
        if len({(p.gpus, p.batch) for p in self.points}) < len(self.points):
            raise ValueError("a stage must be profiled once per batch size and number of GPUs, got a repeated point")

    @classmethod
    def of(cls, gpus: Sequence[int], seconds: Sequence[float], batch: int = 1) -> "StageProfile":
        """Return the profile of one batch size."""
        return cls(tuple(StagePoint(g, batch, float(s)) for g, s in zip(gpus, seconds, strict=True)))

    def seconds(self, gpus: ArrayLike, batch: int = 1) -> FloatArray:
        """Return the estimate on each number of `gpus`, infinite below the least that was profiled.

        Between points it is a power law, beyond the last point constant. More GPUs are never slower: where a measurement
        says so, some are left idle.

        Raises
        ------
        ValueError
            When no point has that batch size.
        """
        points = sorted(p for p in self.points if p.batch == batch)
        if not points:
            known = ", ".join(str(b) for b in sorted({p.batch for p in self.points}))
            raise ValueError(f"a profile must hold the batch size {batch}, got only {known}")
        knots = np.log([p.gpus for p in points])
        fastest = np.minimum.accumulate(np.log([p.seconds for p in points]))
        wanted = np.asarray(gpus, dtype=np.float64)
        with np.errstate(divide="ignore"):
            found = np.exp(np.interp(np.log(wanted), knots, fastest))
        return np.where(wanted < points[0].gpus, np.inf, found)

    def at(self, gpus: int, batch: int = 1) -> float:
        """Return the estimate on `gpus`."""
        return float(self.seconds(gpus, batch))
