"""A proven lower bound on the makespan of any policy, clairvoyant ones included.

Model. There are N instances. A step with b requests in its batch, S tokens of KV at its end and q prefill tokens lasts
``table(b) + gamma * S + rho * q``. Take any line below the table, ``table(b) >= alpha + beta * b`` for 1 <= b <= B with
alpha, beta >= 0. Every step obeys b <= B and S <= C. Request j has p_j prompt tokens and yields L_j tokens; the one
numbered g = 0 ... L_j - 1 comes from a step in which j holds kappa_jg = p_j + g tokens of KV. A request is in at most one
step at a time. Preemption, migration, chunking and perfect foresight are allowed and free.

Theorem. Put w_jg = beta + gamma * kappa_jg and

    a_j = alpha * L_j + rho * p_j,    S_j = sum_g sqrt(w_jg),    W = sum_jg w_jg,    K = sum_jg kappa_jg,
    L = sum_j L_j,    P = sum_j rho * p_j,    H(T) = sum_j S_j**2 / (T - a_j).

Every schedule has a makespan T with ``T > max_j a_j`` (or = where S_j = 0) and

    N * T >= W + P + alpha * max(H(T), K / C, L / B).

The right side falls as T grows and the left side rises, so the bound is where they cross.

Proof. Let t_s be the length of step s less its prefill time, t_s = length - rho * q_s. The tokens made in step s have
``sum w <= t_s - alpha``, for the batch counts b and the KV counts S at least once for each of them. (1) Tokens of j are
made in different steps, and all steps that contain j are disjoint in time and spend at least rho * p_j on its prefill;
so ``sum_g (t(jg) - alpha) <= T - a_j``. (2) By Cauchy and Schwarz, ``sum_g w_jg / (t(jg) - alpha) >= S_j**2 / (T - a_j)``.
(3) In one step ``sum w / (t_s - alpha) <= 1``; so the number of steps on all instances together is at least H(T). It is
also at least K / C, since a step holds at most C tokens of KV, and at least L / B. (4) Steps on one instance are
disjoint, so N * T >= sum_s (t_s + rho * q_s) >= alpha * (number of steps) + W + P. QED.

This is the best member of the family of weighted bounds ``sum_j mu_j * (...) + nu * (...)`` that one gets by adding (1)
with weights mu_j and (4) with weight nu: exchanging maximum over weights and minimum over T (Sion) leads to the
crossing above. With H left out it is the total work at the best attainable throughput under batch limit and KV capacity.

The longest request alone, and arrivals, are added separately: T >= arrival_j + prefill of j in steps of at least table(1)
each + its decode steps with b = 1. Different instances are covered by a line, limits and coefficients that are at least
as good as each of theirs.

Where steps that prefill have a law of their own, or uneven contexts cost extra, the theorem holds with the line, gamma and
rho of `prefill_bound`: every step still lasts at least what the model above says of it.
"""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.instances import BLOCK_TOKENS, Cluster, Instance
from makespan.schedulers.prefill_bound import base_ps, least_kv_ps, prefill_alone_ps, prefill_work_ps
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import PICOSECONDS
from makespan.schedulers.supporting_lines import supporting_lines
from makespan.schedulers.types import FloatArray, IntArray

_CLASSES = 8192


@dataclass(frozen=True, slots=True)
class _Limits:
    """The best of every instance: no step on any of them is shorter or holds more."""

    table_ps: IntArray
    ps_per_kv_token: int
    kv_tokens: int
    max_batch: int
    kinds: tuple[Instance, ...]

    @classmethod
    def of(cls, cluster: Cluster) -> "_Limits":
        widest = int(cluster.max_batch.max())
        kinds = {(i.step_time, i.max_batch, i.max_batched_tokens): i for i in cluster}
        tables = []
        for instance in kinds.values():
            table = np.full(widest + 1, np.iinfo(np.int64).max)
            table[: instance.max_batch + 1] = base_ps(instance)
            tables.append(table)
        return cls(
            table_ps=np.min(tables, axis=0),
            ps_per_kv_token=min(least_kv_ps(i) for i in cluster),
            kv_tokens=max(i.kv_blocks for i in cluster) * 16,
            max_batch=widest,
            kinds=tuple(kinds.values()),
        )


def lower_bound(requests: Requests, output_tokens: IntArray, cluster: Cluster) -> float:
    """Return seconds that no schedule of these requests on this cluster can beat.

    Parameters
    ----------
    requests
        What is asked for, n requests.
    output_tokens
        How many tokens each yields, shape (n,).
    cluster
        Where they run.

    Returns
    -------
    float
        Seconds from time 0 to the last finish. O(n) per line of the step-time table's lower hull.
    """
    limits = _Limits.of(cluster)
    prompts = _own_prompts(requests, cluster).astype(np.float64)
    outputs = output_tokens.astype(np.float64)
    alone = requests.arrival * PICOSECONDS + _alone_ps(prompts, outputs, limits)
    best = float(alone.max())
    for alpha, beta in supporting_lines(limits.table_ps):
        best = max(best, _crossing(prompts, outputs, limits, alpha, beta, len(cluster), best))
    # The sums above are floating point; their relative error is far below this margin.
    return best / PICOSECONDS * (1 - 1e-9)


def _own_prompts(requests: Requests, cluster: Cluster) -> IntArray:
    """Return the tokens of each prompt that no sibling can have computed, shape (n,).

    Where prompts are shared, a step may hold more contexts than fit, but not more of these tokens; each request prefills
    at least them.
    """
    if not any(instance.shares_prompts for instance in cluster):
        return requests.prompt_tokens
    _, index, counts = np.unique(
        np.stack([requests.group, requests.prompt_tokens]), axis=1, return_inverse=True, return_counts=True
    )
    shared = (requests.prompt_tokens - 1) // BLOCK_TOKENS * BLOCK_TOKENS
    own: IntArray = requests.prompt_tokens - np.where(counts[index.ravel()] > 1, shared, 0)
    return own


def _alone_ps(prompts: FloatArray, outputs: FloatArray, limits: _Limits) -> FloatArray:
    """Return picoseconds each request needs on an idle cluster, shape (n,); KV read by early chunks is left out."""
    kv = outputs * prompts + outputs * (outputs - 1) / 2
    decodes = (outputs - 1) * float(limits.table_ps[1:].min()) + limits.ps_per_kv_token * kv
    alone: FloatArray = decodes + np.min([prefill_alone_ps(kind, prompts) for kind in limits.kinds], axis=0)
    return alone


def _crossing(
    prompts: FloatArray,
    outputs: FloatArray,
    limits: _Limits,
    alpha: float,
    beta: float,
    instances: int,
    known: float,
) -> float:
    """Return the T of the theorem for one line, or `known` (a valid bound) where it is no better."""
    gamma = float(limits.ps_per_kv_token)
    prefill = np.min([prefill_work_ps(kind, prompts, alpha, beta) for kind in limits.kinds], axis=0)
    kv = outputs * prompts + outputs * (outputs - 1) / 2
    work = float((beta * outputs + gamma * kv + prefill).sum())
    steps = max(float(kv.sum()) / limits.kv_tokens, float(outputs.sum()) / limits.max_batch)
    alone = alpha * outputs + prefill
    alone, squares = _classes(alone, _root_sum(prompts, outputs, beta, gamma) ** 2)

    def least(total: float) -> float:
        return (work + alpha * max(float((squares / (total - alone)).sum()), steps)) / instances

    low = max(known, float(alone.max()) * (1 + 1e-12), 1.0)
    if least(low) <= low:
        return low if low == known else known
    high = least(low)
    for _ in range(100):
        middle = (low + high) / 2
        if least(middle) > middle:
            low = middle
        else:
            high = middle
    return low


def _root_sum(prompts: FloatArray, outputs: FloatArray, beta: float, gamma: float) -> FloatArray:
    """Return a lower bound on ``sum_g sqrt(beta + gamma * (p + g))``, g = 0 … L - 1; exact where gamma is 0.

    The first term is taken as it is; the others increase, so each is at least the integral over the unit before it.
    """
    first = beta + gamma * prompts
    if gamma == 0:
        level: FloatArray = outputs * np.sqrt(first)
        return level
    last = beta + gamma * (prompts + outputs - 1)
    total: FloatArray = np.sqrt(first) + (last**1.5 - first**1.5) * (2 / (3 * gamma))
    return total


def _classes(alone: FloatArray, squares: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Merge many requests into classes; each class takes the smallest `alone` of its range, so H only falls."""
    if len(alone) <= _CLASSES:
        return alone, squares
    low, high = float(alone.min()), float(alone.max())
    width = (high - low) / _CLASSES or 1.0
    index = np.minimum(((alone - low) / width).astype(np.int64), _CLASSES - 1)
    merged: FloatArray = np.bincount(index, weights=squares, minlength=_CLASSES).astype(np.float64)
    edges: FloatArray = np.minimum(low + width * np.arange(_CLASSES), high)
    return edges, merged
