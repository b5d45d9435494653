"""How long an instance takes to decode requests that start together, in closed form."""

import sys

import numpy as np

from makespan.schedulers.instances import Instance
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import PICOSECONDS
from makespan.schedulers.types import FloatArray


def marginal_seconds(instance: Instance, count: int) -> FloatArray:
    """Return seconds per token that the k-th longest of `count` requests adds, shape (count,).

    Requests that start together take ``sum of step(j) * (L_j - L_{j+1})`` with lengths falling, which is
    ``sum of L_j * (step(j) - step(j - 1))`` (TailSieve, arXiv 2608.22788, section 2.1). Beyond the batch limit a request
    takes its share of full steps.
    """
    table = instance.step_time.table_ps(instance.max_batch) / PICOSECONDS
    seconds = np.full(max(count, instance.max_batch), table[-1] / instance.max_batch)
    seconds[: instance.max_batch] = np.diff(table)
    seconds[0] = table[1]
    return seconds[:count]


def marginal_pieces(instance: Instance) -> list[tuple[int, float]]:
    """Return `marginal_seconds` as steps: up to how many requests, and seconds per token of each of those."""
    most = instance.max_batch
    knots = [1, *(k for k in instance.step_time.running if 1 < k < most), *([most] if most > 1 else [])]
    seconds = instance.step_time(knots).tolist()
    slopes = [(b - a) / (j - k) for a, b, k, j in zip(seconds, seconds[1:], knots, knots[1:], strict=False)]
    return [(1, seconds[0]), *zip(knots[1:], slopes, strict=True), (sys.maxsize, seconds[-1] / most)]


def flat_batch(instance: Instance, rise: float, context: float = 0.0) -> int:
    """Return the largest batch whose step takes at most `rise` times as long as that of one request.

    Each request holds `context` tokens of KV.
    """
    batch = np.arange(1, instance.max_batch + 1)
    seconds = np.maximum.accumulate(instance.step_time(batch, batch * context))
    return int(np.searchsorted(seconds, rise * seconds[0], side="right"))


def halfway_context(requests: Requests) -> float:
    """Return the mean context of requests that are halfway to their caps."""
    return float((requests.prompt_tokens + requests.max_new_tokens / 2).mean())
