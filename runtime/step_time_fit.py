"""Fitting a step-time profile to measured steps: one law for steps that only decode, another for those that prefill."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from makespan.runtime.relative_fit import relative_fit
from makespan.runtime.step_samples import StepSample
from makespan.schedulers.prefill_step_time import PrefillStepTime
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.types import FloatArray


@dataclass(frozen=True)
class StepTimeFit:
    """A fitted step time and its mean absolute percentage error over the steps it was fitted to."""

    step_time: StepTime
    mape: float


def fit_step_time(samples: Sequence[StepSample], running: Sequence[int], prefills: Sequence[int]) -> StepTimeFit:
    """Fit by least squares of the relative error; no coefficient is negative and no table falls.

    Parameters
    ----------
    samples
        Measured steps, with and without prefill; each batch of `running` must occur among those that only decode.
    running
        Batch sizes of the table of steps that only decode, increasing.
    prefills
        Tokens of the table of steps that prefill, increasing.
    """
    decode = [sample for sample in samples if not sample.prompts]
    prefill = [sample for sample in samples if sample.prompts]
    missing = sorted(set(running) - {sample.decodes for sample in decode})
    if missing:
        raise ValueError(f"every batch of the table must be measured, but none of {missing} is")
    if not prefill:
        raise ValueError(f"steps that prefill must be measured, got {len(samples)} that only decode")
    seconds, (kv,), errors = _fit(decode, [s.decodes for s in decode], running, [[s.kv_tokens for s in decode]])
    terms: list[list[float]] = [[s.decodes for s in prefill], [s.kv_tokens for s in prefill], [s.pairs for s in prefill]]
    prefill_seconds, others, prefill_errors = _fit(prefill, [s.tokens for s in prefill], prefills, terms)
    law = PrefillStepTime(tuple(prefills), prefill_seconds, *others)
    step_time = StepTime(tuple(running), seconds, kv, prefill_steps=law)
    return StepTimeFit(step_time, float(np.mean(np.abs(np.concatenate([errors, prefill_errors])))))


def _fit(
    samples: Sequence[StepSample], at: Sequence[int], knots: Sequence[int], terms: Sequence[Sequence[float]]
) -> tuple[tuple[float, ...], tuple[float, ...], FloatArray]:
    """Return the seconds of a table over `at`, the coefficients of the terms, and the relative error of every sample."""
    seconds = np.array([sample.seconds for sample in samples])
    design = np.column_stack([_rises(np.array(at, dtype=np.float64), knots), *terms])
    found = relative_fit(design, seconds, seconds)
    table = np.cumsum(found[: len(knots)])
    return _rounded(table), _rounded(found[len(knots) :]), design @ found / seconds - 1


def _rounded(values: FloatArray) -> tuple[float, ...]:
    """Return six digits of each, which is more than a measurement has."""
    return tuple(float(f"{value:.6g}") for value in values)


def _rises(at: FloatArray, knots: Sequence[int]) -> FloatArray:
    """Return how much of the rise to each knot has been made, shape (len(at), len(knots)); the last goes on beyond it."""
    columns = [np.ones(len(at))]
    for low, high in pairwise(knots):
        made = np.maximum((at - low) / (high - low), 0)
        columns.append(made if high == knots[-1] else np.minimum(made, 1))
    return np.stack(columns, axis=1)
