"""How long one engine step takes: a table over running requests, plus KV and prefill coefficients."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike

from makespan.schedulers.types import FloatArray, IntArray

PICOSECONDS = 10**12
"""Ticks per second. Times are whole picoseconds, so that sums are exact and equal on every machine."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of one engine step as a function of its batch.

    A step with `b` scheduled requests that hold `S` tokens of KV when it ends, `q` of them prefilled by it,
    lasts ``table(b) + seconds_per_kv_token * S + seconds_per_prefill_token * q``.

    Parameters
    ----------
    running
        Batch sizes of the table, increasing, at least 1.
    seconds
        Step time at each of them with no KV and no prefill, positive. Between knots the table is linear; below the
        first it is constant; beyond the last it goes on with the slope of the last piece.
    seconds_per_kv_token, seconds_per_prefill_token
        Not negative.
    """

    running: tuple[int, ...]
    seconds: tuple[float, ...]
    seconds_per_kv_token: float = 0.0
    seconds_per_prefill_token: float = 0.0

    def __post_init__(self) -> None:
        if not self.running or len(self.running) != len(self.seconds):
            raise ValueError(
                f"a step-time table needs as many seconds as batch sizes, got {len(self.seconds)} and {len(self.running)}"
            )
        if self.running[0] < 1 or any(b <= a for a, b in zip(self.running, self.running[1:], strict=False)):
            raise ValueError(f"batch sizes must increase from at least 1, got {self.running}")
        if not all(isfinite(s) and s > 0 for s in self.seconds):
            raise ValueError(f"step times must be positive and finite, got {self.seconds}")
        if len(self.seconds) > 1 and self.seconds[-1] < self.seconds[-2]:
            raise ValueError(f"the last piece of a step-time table must not fall, got {self.seconds[-2:]}")
        for name in ("seconds_per_kv_token", "seconds_per_prefill_token"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {value}")

    @property
    def ps_per_kv_token(self) -> int:
        """The KV coefficient in whole picoseconds."""
        return round(self.seconds_per_kv_token * PICOSECONDS)

    @property
    def ps_per_prefill_token(self) -> int:
        """The prefill coefficient in whole picoseconds."""
        return round(self.seconds_per_prefill_token * PICOSECONDS)

    def table_ps(self, max_batch: int) -> IntArray:
        """Step time in picoseconds at 0 … `max_batch` requests, shape (max_batch + 1,); entry 0 is entry 1."""
        batch = np.maximum(np.arange(max_batch + 1, dtype=np.float64), 1)
        table = np.interp(batch, self.running, self.seconds)
        if len(self.running) > 1:
            slope = (self.seconds[-1] - self.seconds[-2]) / (self.running[-1] - self.running[-2])
            table += np.maximum(batch - self.running[-1], 0) * slope
        ticks: IntArray = np.rint(table * PICOSECONDS).astype(np.int64)
        return ticks

    def __call__(self, running: ArrayLike, kv_tokens: ArrayLike = 0, prefill_tokens: ArrayLike = 0) -> FloatArray:
        """Return seconds of a step; the arguments broadcast."""
        batch = np.asarray(running, dtype=np.int64)
        base = self.table_ps(int(batch.max(initial=1)))[batch]
        extra = self.ps_per_kv_token * np.asarray(kv_tokens) + self.ps_per_prefill_token * np.asarray(prefill_tokens)
        seconds: FloatArray = (base + extra) / PICOSECONDS
        return seconds
