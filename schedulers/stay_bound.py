"""A lower bound for schedules in which each request stays on one instance; they may delay and preempt.

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

Where instances differ, each is taken to be as good as the best of them in every respect.
"""

import numpy as np

from makespan.schedulers.prefill_bound import base_ps, least_kv_ps, prefill_rate_ps
from makespan.schedulers.stage_plan import StagePlan
from makespan.schedulers.supporting_lines import supporting_lines
from makespan.schedulers.types import FloatArray, IntArray

_HALVINGS = 50
_LINES = 12


def stay_bound_ps(plan: StagePlan) -> float:
    """Return picoseconds that no schedule of `plan` can beat that moves nothing from one instance to another."""
    widest = int(plan.cluster.max_batch.max())
    table: IntArray = np.full(widest + 1, np.iinfo(np.int64).max)
    for instance in plan.cluster:
        below = base_ps(instance)
        table[: len(below)] = np.minimum(table[: len(below)], below)
    lines = [(alpha, beta) for alpha, beta in supporting_lines(table) if beta > 0]
    lengths = plan.lengths.astype(np.float64)
    prompts = np.maximum(plan.prompts - 1, 0)
    best = 0.0
    for k in np.unique(np.linspace(0, len(lines) - 1, _LINES).astype(int)).tolist():
        unit = lines[k][1]
        kv = min(least_kv_ps(i) for i in plan.cluster) * plan.kv
        # A prompt token costs what it costs under the most careful of the lines.
        rate = min(prefill_rate_ps(i, *line) for i in plan.cluster for line in lines)
        work = unit * lengths + kv + rate * prompts
        rooms = [(alpha, min(1.0, beta / unit)) for alpha, beta in lines]
        best = max(best, _least_end(lengths, work, rooms, len(plan.cluster), best))
    return best


def _least_end(lengths: FloatArray, work: FloatArray, rooms: list[tuple[float, float]], instances: int, low: float) -> float:
    """Return the least end at which requests, longest first, can be filled into the instances, from below."""
    placed = np.cumsum(work)
    total = float(placed[-1])

    def fits(end: float) -> bool:
        filled = 0.0
        for _ in range(instances):
            first = int(np.searchsorted(placed, filled * (1 + 1e-12), side="right"))
            if first >= len(lengths):
                return True
            room = min((end - alpha * float(lengths[first])) / share for alpha, share in rooms)
            filled += max(room, 0.0)
        return filled >= total * (1 - 1e-12)

    high = total + max(alpha for alpha, _ in rooms) * float(lengths[0])
    high = max(high, low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return low
