"""How long one engine step takes: a table over running requests, plus KV and prefill coefficients."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike

from makespan.schedulers.prefill_step_time import PICOSECONDS as PICOSECONDS
from makespan.schedulers.prefill_step_time import PrefillStepTime, interpolate_ps
from makespan.schedulers.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of one engine step as a function of its batch.

    A step with `b` scheduled requests that hold `S` tokens of KV when it ends, `q` of them prefilled by it,
    lasts ``table(b) + seconds_per_kv_token * S + seconds_per_prefill_token * q``. Where `prefill_steps` is given, this
    holds for steps that only decode, and steps that prefill follow that law.

    Parameters
    ----------
    running
        Batch sizes of the table, increasing, at least 1.
    seconds
        Step time at each of them with no KV and no prefill, positive. Between knots the table is linear; below the
        first it is constant; beyond the last it goes on with the slope of the last piece.
    seconds_per_kv_token, seconds_per_prefill_token
        Not negative.
    prefill_steps
        The law of steps that prefill; `seconds_per_prefill_token` must then be 0.
    padded_kv_share
        Attention over contexts of uneven lengths takes longer than over as many even ones, because its work is split by
        the longest. In every step, ``padded_kv_share * (n * longest - S)`` tokens of KV are paid for beside the S, over
        its n decoding requests. From 0 to 1.
    """

    running: tuple[int, ...]
    seconds: tuple[float, ...]
    seconds_per_kv_token: float = 0.0
    seconds_per_prefill_token: float = 0.0
    prefill_steps: PrefillStepTime | None = None
    padded_kv_share: float = 0.0

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
        if self.prefill_steps is not None and self.seconds_per_prefill_token:
            raise ValueError(
                "seconds_per_prefill_token must be 0 where prefill steps have a table of their own, "
                f"got {self.seconds_per_prefill_token}"
            )
        if not 0 <= self.padded_kv_share <= 1:
            raise ValueError(f"padded_kv_share must be from 0 to 1, got {self.padded_kv_share}")

    @property
    def ps_per_kv_token(self) -> int:
        """The KV coefficient in whole picoseconds."""
        return round(self.seconds_per_kv_token * PICOSECONDS)

    @property
    def ps_per_prefill_token(self) -> int:
        """The prefill coefficient in whole picoseconds."""
        return round(self.seconds_per_prefill_token * PICOSECONDS)

    @property
    def ps_per_padded_token(self) -> int:
        """What a token of KV that is only padding costs a step that only decodes, in whole picoseconds."""
        return round(self.padded_kv_share * self.ps_per_kv_token)

    @property
    def prefill_ps_per_padded_token(self) -> int:
        """The same for a step that prefills."""
        steps = self.prefill_steps
        return self.ps_per_padded_token if steps is None else round(self.padded_kv_share * steps.ps_per_kv_token)

    def table_ps(self, max_batch: int) -> IntArray:
        """Step time in picoseconds at 0 … `max_batch` requests, shape (max_batch + 1,); entry 0 is entry 1."""
        return interpolate_ps(self.running, self.seconds, max_batch)

    def __call__(self, running: ArrayLike, kv_tokens: ArrayLike = 0) -> FloatArray:
        """Return seconds of a step that only decodes contexts of even lengths; the arguments broadcast."""
        batch = np.asarray(running, dtype=np.int64)
        base = self.table_ps(int(batch.max(initial=1)))[batch]
        seconds: FloatArray = (base + self.ps_per_kv_token * np.asarray(kv_tokens)) / PICOSECONDS
        return seconds
