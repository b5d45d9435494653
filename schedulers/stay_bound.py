"""Lower bounds for schedules in which each request stays on one instance; without interruptions, or with them.

An instance that is given the set A makes at least ``max L_j`` steps. With a supporting line (alpha, beta) of its table it
is busy for at least

    alpha * max_{j in A} L_j + sum_{j in A} w_j,    w_j = beta * L_j + gamma * (KV of j, over its steps) + rho * p_j.

So an instance whose longest request has M steps has room for ``room(M) = min over lines of (T - alpha * M)`` of such work,
once the work of each line is measured in that of one of them, by the least ratio of the two among requests no longer than M.

Theorem. If all requests fit by T, they fit so: take them longest first; fill instance after instance up to room(M), M being
the longest request that is not yet placed in full; a request may be split.

Proof. Take any assignment that ends by T, its instances by falling longest request M_1 >= M_2 >= ... All requests longer
than M_i are on the first i - 1 of them, and so is their work. By induction the filling has placed at least as much work on
its first i - 1 instances, always the longest first, so none longer than M_i is left to it, its own M is at most M_i and
its room on instance i is at least as large: the work placed on the first i is again at least as much. QED.

Where no request is interrupted, `whole_rounds` says more.

Where instances differ, each is taken to be as good as the best of them in every respect.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from makespan.schedulers.prefill_bound import base_ps, least_kv_ps, prefill_rate_ps
from makespan.schedulers.stage_plan import StagePlan
from makespan.schedulers.supporting_lines import supporting_lines
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.whole_rounds import Crowd, Room

_HALVINGS = 50
_SLOPES = 24
_ROUNDS = 24
_TINY = 1e-12
_STEP = 1e-7


def stay_bound_ps(plan: StagePlan, *, interrupted: bool) -> float:
    """Return picoseconds that no schedule of `plan` can beat that moves nothing from one instance to another.

    Parameters
    ----------
    plan
        What is to be run.
    interrupted
        Whether schedules may preempt a request or leave it out of a step.
    """
    widest = int(plan.cluster.max_batch.max())
    table: IntArray = np.full(widest + 1, np.iinfo(np.int64).max)
    for instance in plan.cluster:
        below = base_ps(instance)
        table[: len(below)] = np.minimum(table[: len(below)], below)
    # Many lines through the step of a full batch: what they say lies between steps that are full and those that are few.
    slopes = np.array([beta for _, beta in supporting_lines(table) if beta > 0])
    slopes = np.union1d(slopes, np.linspace(0, slopes[-1], _SLOPES)[1:])
    slopes = np.append(0.0, slopes)
    batch = np.arange(1, widest + 1)
    lines = [(max(float((table[1:] - beta * batch).min()), 0.0), float(beta)) for beta in slopes]
    lengths = plan.lengths.astype(np.float64)
    kv = min(least_kv_ps(i) for i in plan.cluster) * plan.kv
    # A prompt token costs what it costs under the most careful of the lines.
    rate = min(prefill_rate_ps(i, *line) for i in plan.cluster for line in lines)
    besides = kv + rate * np.maximum(plan.prefill - 1, 0)
    works = np.outer(lengths, [beta for _, beta in lines]) + besides[:, None]
    alpha = np.array([a for a, _ in lines])
    high = float((alpha * lengths.sum() + works.sum(axis=0)).max())
    crowds = (
        [] if interrupted else [Crowd.of(works[: q + 1], float(lengths[q]), widest) for q in _last_of_lengths(plan.lengths)]
    )
    best = 0.0
    for work in works.T:
        if work.min() == 0:
            continue
        # A line that charges a request nothing still says how long the steps take.
        ratio = np.maximum(works / work[:, None], _TINY)
        room = Room(alpha, np.minimum.accumulate(ratio[::-1])[::-1])
        placed = np.cumsum(work)
        best = _bisected(best, high, partial(_fill, lengths, placed, room, len(plan.cluster)))
        if not interrupted:
            for longest in crowds:
                whole = partial(longest.fit, float(placed[-1]), room, len(plan.cluster))
                best = _bisected(best, high, whole, step=_STEP)
    return best


def _last_of_lengths(lengths: IntArray) -> list[int]:
    """Return the last request of each length, up to `_ROUNDS` of them."""
    last = np.flatnonzero(np.diff(lengths, append=0))
    chosen: list[int] = last[np.unique(np.linspace(0, len(last) - 1, _ROUNDS).astype(int))].tolist()
    return chosen


def _fill(lengths: FloatArray, placed: FloatArray, room: Room, instances: int, end: float) -> bool:
    """Return whether the requests, longest first, fill no more than the instances; `placed` adds up their work."""
    filled = 0.0
    for _ in range(instances):
        first = int(np.searchsorted(placed, filled * (1 + 1e-12), side="right"))
        if first >= len(lengths):
            return True
        filled += max(room.until(end, float(lengths[first]), first), 0.0)
    return filled >= float(placed[-1]) * (1 - 1e-12)


def _bisected(low: float, high: float, fits: Callable[[float], bool], step: float = 0.0) -> float:
    """Return the least end that fits, from below and up to a share of `step`; `low` where that fits already."""
    if high <= low or fits(low * (1 + step)):
        return low
    for _ in range(_HALVINGS):
        if high <= low * (1 + step):
            break
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return low
