"""What the lower bound may count on where steps that prefill have a law of their own.

A step with b tokens made in it and r prompt tokens beside them holds T = b + r tokens, so it lasts at least its base:
``table(b)`` where r = 0 and it only decodes, ``prefill_table(T)`` where it prefills. The bound needs a line below both,

    base >= alpha + beta * b + rho * r    for 0 <= b <= B, 0 <= r, b + r <= budget.

`base_ps` is the lower of the tables, from which alpha and beta are taken; `prefill_rate_ps` finds the largest rho.
The prompt token from which a request's first token comes is one of the b, hence p - 1 prompt tokens are left to rho.
"""

import numpy as np

from makespan.schedulers.instances import Instance
from makespan.schedulers.prefill_step_time import PrefillStepTime
from makespan.schedulers.supporting_lines import supporting_lines
from makespan.schedulers.types import FloatArray, IntArray


def base_ps(instance: Instance) -> IntArray:
    """Return the least base of a step in which 0 … B tokens are made, in picoseconds, shape (B + 1,)."""
    table = instance.step_time.table_ps(instance.max_batch)
    prefill = instance.step_time.prefill_steps
    return table if prefill is None else np.minimum(table, prefill.table_ps(instance.max_batch))


def either_ps(instance: Instance, law: PrefillStepTime) -> IntArray:
    """Return the least base of a step that computes 0 … T tokens, made or prefilled, in picoseconds, shape (T + 1,)."""
    least = law.table_ps(instance.max_batched_tokens)
    least[: instance.max_batch + 1] = base_ps(instance)
    return least


def least_kv_ps(instance: Instance) -> int:
    """Return the least that a token of KV costs any step, in picoseconds."""
    step, prefill = instance.step_time, instance.step_time.prefill_steps
    return step.ps_per_kv_token if prefill is None else min(step.ps_per_kv_token, prefill.ps_per_kv_token)


def prefill_rate_ps(instance: Instance, alpha: float, beta: float) -> float:
    """Return the work that a prompt token adds at least under the line (alpha, beta), in picoseconds.

    For given T, ``(prefill_table(T) - alpha - beta * b) / (T - b)`` is monotone in b, so its least value is at an end.
    """
    prefill = instance.step_time.prefill_steps
    if prefill is None:
        return instance.step_time.ps_per_prefill_token
    tokens = np.arange(1, instance.max_batched_tokens + 1, dtype=np.float64)
    above = prefill.table_ps(instance.max_batched_tokens)[1:] - alpha
    most = np.minimum(tokens - 1, instance.max_batch)
    return max(float(np.minimum(above / tokens, (above - beta * most) / (tokens - most)).min()), 0.0)


def prefill_work_ps(instance: Instance, prompts: FloatArray, alpha: float, beta: float) -> FloatArray:
    """Return the work that prompts of these lengths add at least under the line (alpha, beta), shape (n,)."""
    counted = prompts if instance.step_time.prefill_steps is None else np.maximum(prompts - 1, 0)
    return prefill_rate_ps(instance, alpha, beta) * counted


def prefill_alone_ps(instance: Instance, prompts: FloatArray) -> FloatArray:
    """Return picoseconds that prompts need at least on an idle instance, without the KV they read, shape (n,)."""
    chunks = np.ceil(prompts / instance.max_batched_tokens)
    prefill = instance.step_time.prefill_steps
    if prefill is None:
        least = float(instance.step_time.table_ps(instance.max_batch)[1:].min())
        return chunks * least + instance.step_time.ps_per_prefill_token * prompts
    lines = supporting_lines(prefill.table_ps(instance.max_batched_tokens))
    alone: FloatArray = np.max([alpha * chunks + beta * prompts for alpha, beta in lines], axis=0)
    return alone
