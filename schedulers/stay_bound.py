"""Lower bounds for schedules in which each request stays on one instance; without interruptions, or with them.

An instance that is given the set A makes at least ``max L_j`` steps. With a supporting line (alpha, beta) of its table it
is busy for at least

    alpha * max_{j in A} L_j + sum_{j in A} w_j,    w_j = beta * L_j + gamma * (KV of j, over its steps) + rho * p_j.

So an instance whose longest request has M steps has room for ``room(M) = min over lines of (T - alpha * M)`` of such work,
once the work of each line is measured in that of one of them: a line with a smaller beta counts every request at least
beta / beta' times as much.

Theorem. If all requests fit by T, they fit so: take them longest first; fill instance after instance up to room(M), M being the
longest request that is not yet placed in full; a request may be split.

Proof. Take any assignment that ends by T, its instances by falling longest request M_1 >= M_2 >= ... All requests longer than
M_i are on the first i - 1 of them, and so is their work. By induction the filling has placed at least as much work on its
first i - 1 instances, always the longest first, so none longer than M_i is left to it, its own M is at most M_i and its
room on instance i is at least as large: the work placed on the first i is again at least as much. QED.

Where no request is interrupted, each takes a slot of its instance for as many steps in a row as it has tokens. Of q requests
with at least ``length`` tokens some instances must take more than others: with r_i rounds, of B requests each, instance i
makes at least ``r_i * length`` steps and has room(r_i * length), which is concave in r_i. As ``sum r_i >= q / B``, the total is
most when rounds are spread as evenly as whole numbers can be; it must hold all work.

Where instances differ, each is taken to be as good as the best of them in every respect.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from makespan.schedulers.prefill_bound import base_ps, least_kv_ps, prefill_rate_ps
from makespan.schedulers.stage_plan import StagePlan
from makespan.schedulers.supporting_lines import supporting_lines
from makespan.schedulers.types import FloatArray, IntArray

_HALVINGS = 50
_LINES = 8
_ROUNDS = 24


@dataclass(frozen=True, slots=True)
class _Room:
    """How much work an instance has room for that makes so many steps; picoseconds, work in the unit of one line."""

    lines: tuple[tuple[float, float], ...]

    def until(self, end: float, steps: float) -> float:
        """Return the room, or minus infinity where the steps alone take longer."""
        room = min((end - alpha * steps) / share for alpha, share in self.lines)
        return room if room >= 0 else -np.inf


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
    lines = [(alpha, beta) for alpha, beta in supporting_lines(table) if beta > 0]
    lengths = plan.lengths.astype(np.float64)
    kv = min(least_kv_ps(i) for i in plan.cluster) * plan.kv
    # A prompt token costs what it costs under the most careful of the lines.
    rate = min(prefill_rate_ps(i, *line) for i in plan.cluster for line in lines)
    best = 0.0
    for k in np.unique(np.linspace(0, len(lines) - 1, _LINES).astype(int)).tolist():
        unit = lines[k][1]
        work = np.cumsum(unit * lengths + kv + rate * np.maximum(plan.prompts - 1, 0))
        room = _Room(tuple((alpha, min(1.0, beta / unit)) for alpha, beta in lines))
        high = float(work[-1]) + max(alpha for alpha, _ in lines) * float(lengths.sum())
        best = _bisected(best, high, partial(_fill, lengths, work, room, len(plan.cluster)))
        if not interrupted:
            for q in _last_of_lengths(plan.lengths):
                rounds = divmod(-(-(q + 1) // widest), len(plan.cluster))
                spread = partial(_spread, float(work[-1]), room, float(lengths[q]), len(plan.cluster), rounds)
                best = _bisected(best, high, spread)
    return best


def _last_of_lengths(lengths: IntArray) -> list[int]:
    """Return the last request of each length, up to `_ROUNDS` of them."""
    last = np.flatnonzero(np.diff(lengths, append=0))
    return last[np.unique(np.linspace(0, len(last) - 1, _ROUNDS).astype(int))].tolist()


def _fill(lengths: FloatArray, placed: FloatArray, room: _Room, instances: int, end: float) -> bool:
    """Return whether the requests, longest first, fill no more than the instances; `placed` adds up their work."""
    filled = 0.0
    for _ in range(instances):
        first = int(np.searchsorted(placed, filled * (1 + 1e-12), side="right"))
        if first >= len(lengths):
            return True
        filled += max(room.until(end, float(lengths[first])), 0.0)
    return filled >= float(placed[-1]) * (1 - 1e-12)


def _spread(work: float, room: _Room, length: float, instances: int, rounds: tuple[int, int], end: float) -> bool:
    """Return whether all work fits where every instance makes ``rounds[0]`` rounds and ``rounds[1]`` of them one more."""
    few, more = rounds
    rooms = (instances - more) * room.until(end, few * length)
    return rooms + (more * room.until(end, (few + 1) * length) if more else 0.0) >= work * (1 - 1e-12)


def _bisected(low: float, high: float, fits: Callable[[float], bool]) -> float:
    """Return the least end that fits, from below; `low` where that fits already."""
    if high <= low or fits(low):
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return low
