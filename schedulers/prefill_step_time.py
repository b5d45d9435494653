"""How long an engine step takes that prefills: another kernel, and so another law, than a step that only decodes."""

from dataclasses import dataclass
from math import isfinite

import numpy as np

from makespan.schedulers.types import IntArray

PICOSECONDS = 10**12
"""Ticks per second. Times are whole picoseconds, so that sums are exact and equal on every machine."""


@dataclass(frozen=True, slots=True)
class PrefillStepTime:
    """Seconds of a step in which at least one request is prefilled.

    Two things set such a step apart. The weights are read once for all of its tokens, so that a few prompt tokens beside
    a decode batch are nearly free and many cost their arithmetic: its base is a table over tokens, not over requests. And
    its attention, that of the decoding requests too, is computed by the kernel for prompts, which reads KV more slowly.

    A step with ``T`` tokens, ``n`` of them of decoding requests, ``S`` tokens of KV held when it ends and ``A`` attended
    pairs lasts ``table(T) + seconds_per_decode * n + seconds_per_kv_token * S + seconds_per_pair * A``. A chunk of ``c``
    prompt tokens behind ``k`` computed ones attends ``c * k + c * (c + 1) / 2`` pairs of a query and a key.

    Parameters
    ----------
    tokens
        Tokens of the table, increasing, at least 1.
    seconds
        Step time at each of them, positive, never falling. Between knots the table is linear; below the first it is
        constant; beyond the last it goes on with the slope of the last piece.
    seconds_per_decode, seconds_per_kv_token, seconds_per_pair
        Not negative.
    """

    tokens: tuple[int, ...]
    seconds: tuple[float, ...]
    seconds_per_decode: float = 0.0
    seconds_per_kv_token: float = 0.0
    seconds_per_pair: float = 0.0

    def __post_init__(self) -> None:
        if not self.tokens or len(self.tokens) != len(self.seconds):
            raise ValueError(
                f"a table of prefill steps needs as many seconds as tokens, got {len(self.seconds)} and {len(self.tokens)}"
            )
        if self.tokens[0] < 1 or any(b <= a for a, b in zip(self.tokens, self.tokens[1:], strict=False)):
            raise ValueError(f"token counts must increase from at least 1, got {self.tokens}")
        if not all(isfinite(s) and s > 0 for s in self.seconds):
            raise ValueError(f"times of prefill steps must be positive and finite, got {self.seconds}")
        if any(b < a for a, b in zip(self.seconds, self.seconds[1:], strict=False)):
            raise ValueError(f"a table of prefill steps must never fall, got {self.seconds}")
        for name in ("seconds_per_decode", "seconds_per_kv_token", "seconds_per_pair"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {value}")

    @property
    def ps_per_decode(self) -> int:
        """The coefficient of decoding requests in whole picoseconds."""
        return round(self.seconds_per_decode * PICOSECONDS)

    @property
    def ps_per_kv_token(self) -> int:
        """The KV coefficient in whole picoseconds."""
        return round(self.seconds_per_kv_token * PICOSECONDS)

    @property
    def ps_per_pair(self) -> int:
        """The coefficient of attended pairs in whole picoseconds."""
        return round(self.seconds_per_pair * PICOSECONDS)

    def table_ps(self, max_tokens: int) -> IntArray:
        """Step time in picoseconds at 0 … `max_tokens` tokens, shape (max_tokens + 1,); entry 0 is entry 1."""
        return interpolate_ps(self.tokens, self.seconds, max_tokens)


def interpolate_ps(knots: tuple[int, ...], seconds: tuple[float, ...], most: int) -> IntArray:
    """Return whole picoseconds at 0 … `most`: linear between knots, constant below, the last slope beyond."""
    at = np.maximum(np.arange(most + 1, dtype=np.float64), 1)
    table = np.interp(at, knots, seconds)
    if len(knots) > 1:
        slope = (seconds[-1] - seconds[-2]) / (knots[-1] - knots[-2])
        table += np.maximum(at - knots[-1], 0) * slope
    ticks: IntArray = np.rint(table * PICOSECONDS).astype(np.int64)
    return ticks
