"""Fitting a step time to the tables of layer times, and to nothing else."""

from dataclasses import dataclass

import numpy as np

from makespan.runtime.deployments import Deployment
from makespan.runtime.relative_fit import relative_fit
from makespan.schedulers.prefill_step_time import PrefillStepTime
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.types import BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class Limits:
    """What an instance can meet: its batch limit, its KV capacity, the longest context. The rest is left out of a fit."""

    max_batch: int
    kv_capacity_tokens: int
    longest_context: int


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """Every step of the attention table that the instance may meet, with its time. All of shape (n,)."""

    decodes: FloatArray
    prompt_tokens: FloatArray
    kv_tokens: FloatArray
    pairs: FloatArray
    rest: FloatArray  # seconds that no table over tokens holds: attention, the head, what is split between ranks
    seconds: FloatArray

    @classmethod
    def of(cls, deployment: Deployment, limits: Limits) -> "_Steps":
        chunk, behind, n, kv, attention = deployment.tables.attention.T
        held = n * kv * deployment.ranks + behind + chunk
        fits = (n * deployment.ranks + (chunk > 0) <= limits.max_batch) & (n + chunk <= deployment.max_tokens)
        fits &= (held <= limits.kv_capacity_tokens) & (np.maximum(kv, behind + chunk) <= limits.longest_context)
        chunk, behind, n, held, attention = (column[fits] for column in (chunk, behind, n, held, attention))
        decodes = n * deployment.ranks
        own = deployment.model.layers * attention + deployment.head(n + (chunk > 0))
        dense = deployment.dense(n + chunk)
        return cls(
            decodes,
            chunk,
            held,
            chunk * behind + chunk * (chunk + 1) / 2,
            own + dense - deployment.dense(decodes + chunk),
            own + dense + deployment.shared(decodes + chunk),
        )

    @property
    def prefills(self) -> BoolArray:
        chosen: BoolArray = self.prompt_tokens > 0
        return chosen

    def fit(self, rows: BoolArray, terms: list[FloatArray], seconds: FloatArray) -> FloatArray:
        """Return coefficients of `terms`, not negative, that fit `seconds` of `rows` relative to the whole step."""
        design = np.stack([np.broadcast_to(term, rows.shape) for term in terms], axis=1)[rows]
        return relative_fit(design, seconds[rows], self.seconds[rows])


def linear_step_time(deployment: Deployment, limits: Limits) -> StepTime:
    """Fit one law to all steps: ``a + b * requests + c * KV``, and a constant for every prompt token."""
    steps = _Steps.of(deployment, limits)
    requests = steps.decodes + steps.prefills
    one, each, kv = steps.fit(~steps.prefills, [np.ones(1), requests, steps.kv_tokens], steps.seconds)
    over = steps.seconds - one - each * requests - kv * steps.kv_tokens
    [token] = steps.fit(steps.prefills, [steps.prompt_tokens], over)
    widest = limits.max_batch
    return StepTime((1, widest), (float(one + each), float(one + each * widest)), float(kv), float(token))


def layered_step_time(deployment: Deployment, limits: Limits, *, uneven: bool = True) -> StepTime:
    """Take the tables over tokens as they are, and fit attention alone: of steps that decode, of steps that prefill.

    Parameters
    ----------
    deployment
        What is measured.
    limits
        Of the instance.
    uneven
        Whether contexts of uneven lengths cost extra, by the share that the profiler measured.
    """
    steps = _Steps.of(deployment, limits)
    one, each, kv = steps.fit(~steps.prefills, [np.ones(1), steps.decodes, steps.kv_tokens], steps.rest)
    tokens = steps.decodes + steps.prompt_tokens
    terms = [np.ones(1), tokens, steps.decodes, steps.kv_tokens, steps.pairs]
    prefill_one, token, decode, prefill_kv, pair = steps.fit(steps.prefills, terms, steps.rest)
    batches = _knots(deployment, limits.max_batch)
    chunks = _knots(deployment, deployment.max_tokens * deployment.ranks)
    return StepTime(
        tuple(batches.astype(int).tolist()),
        _rising(deployment.dense(batches) + deployment.shared(batches) + one + each * batches),
        float(kv),
        prefill_steps=PrefillStepTime(
            tuple(chunks.astype(int).tolist()),
            _rising(deployment.dense(chunks) + deployment.shared(chunks) + prefill_one + token * chunks),
            float(decode),
            float(prefill_kv),
            float(pair),
        ),
        padded_kv_share=deployment.tables.padded_kv_share if uneven else 0.0,
    )


def _knots(deployment: Deployment, most: int) -> FloatArray:
    """Return where the tables were measured, up to `most` tokens."""
    at = np.unique(np.concatenate([table[0] for table in deployment.tables.dense.values()] + [[most]]))
    return at[(at >= 1) & (at <= most)]


def _rising(seconds: FloatArray) -> tuple[float, ...]:
    """Return a table that never falls: more tokens cannot take less time, a dip is noise."""
    return tuple(float(value) for value in np.maximum.accumulate(seconds))
