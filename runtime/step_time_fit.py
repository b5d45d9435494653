"""Fitting a step-time profile to measured steps: a table over the batch, and KV and prefill coefficients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from makespan.runtime.step_samples import StepSample

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class StepTimeFit:
    """A fitted profile and its mean absolute percentage error over the steps it was fitted to."""

    running: tuple[int, ...]
    seconds: tuple[float, ...]
    seconds_per_kv_token: float
    seconds_per_prefill_token: float
    mape: float


def fit_step_time(samples: Sequence[StepSample], running: Sequence[int]) -> StepTimeFit:
    """Fit by least squares of the relative error.

    A coefficient that comes out negative is noise around nothing: it is set to zero and the rest is fitted
    again. The table never falls, because a larger batch cannot take less time.

    Parameters
    ----------
    samples
        Measured steps; each batch of `running` must occur.
    running
        Batch sizes of the table, increasing.
    """
    knots = np.asarray(running, dtype=np.float64)
    seconds = np.array([sample.seconds for sample in samples])
    batch = np.array([sample.running for sample in samples], dtype=np.float64)
    missing = sorted(set(running) - set(batch.astype(int).tolist()))
    if missing:
        raise ValueError(f"every batch of the table must be measured, but none of {missing} is")
    hats = np.stack([np.interp(batch, knots, unit) for unit in np.eye(len(knots))], axis=1)
    kv = np.array([sample.kv_tokens for sample in samples])
    prefill = np.array([float(sample.prefill_tokens) for sample in samples])
    design = np.column_stack([hats, kv, prefill])
    weighted = design / seconds[:, None]
    found = _non_negative(weighted, free=list(range(design.shape[1])), knots=len(knots))
    found[: len(knots)] = np.maximum.accumulate(found[: len(knots)])
    error = float(np.mean(np.abs(design @ found - seconds) / seconds))
    table = tuple(float(value) for value in found[: len(knots)])
    return StepTimeFit(tuple(running), table, float(found[-2]), float(found[-1]), error)


def _non_negative(weighted: FloatArray, *, free: list[int], knots: int) -> FloatArray:
    found = np.zeros(weighted.shape[1])
    found[free] = np.linalg.lstsq(weighted[:, free], np.ones(len(weighted)), rcond=None)[0]
    below = [column for column in free if column >= knots and found[column] < 0]
    if not below:
        return found
    return _non_negative(weighted, free=[column for column in free if column not in below], knots=knots)
