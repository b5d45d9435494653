"""Heddle's placement: the requests sorted by length are cut into one stretch for each instance (arXiv 2603.28101)."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from makespan.schedulers.instances import Instance
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View

HALVINGS = 40
"""After so many bisections the makespan of a partition is known to a part in 10^12 of the bracket."""

WORTH_IT = 0.99
"""Instances that are left are looked at again when the last of them could end before this share of the time."""


@dataclass(frozen=True, slots=True)
class ContiguousPartition:
    """The contiguous partition of least predicted makespan, the longest requests where a token alone is fastest.

    A stretch takes ``longest * seconds per token(requests)``: the per-token time alone, times the interference of the
    others. The longest starts first, so beyond the batch limit the others wait, and a stretch takes at least its share of
    full steps.

    Notes
    -----
    The paper was not read, only summaries. Interference is the step-time table here, with KV of the mean context; the
    paper's own curve is not known, nor what it does where slots are short. Within the slots some contiguous partition is
    optimal on equal instances (Heddle's claim). The least makespan is found by bisection instead of Heddle's
    dynamic programme: an instance takes as many of the longest that are left as end in time. Of several partitions with
    that makespan, the one is taken whose second instance could not end earlier, and so on. Of unequal instances, the
    order is Heddle's rank-ordered mapping.
    """

    places_at_once: ClassVar[bool] = True

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the instance of each of `rows`: the longest on the first ones."""
        known = np.flatnonzero(view.arrived & ~view.ended)
        remaining = np.maximum(view.estimates.point - view.generated, 1.0)
        longest_first = known[np.lexsort((view.requests.sequence[known], -remaining[known]))]
        lengths = remaining[longest_first]
        alone = np.array([i.step_time.table_ps(1)[1] for i in view.cluster])
        fastest_first = np.lexsort((view.cluster.sequence, alone))
        held = (view.requests.prompt_tokens + view.generated)[longest_first] + lengths / 2
        context = int(held.mean()) if len(held) else 0
        kinds = {i: seconds_per_token(i, context) for i in {replace(i, sequence=0) for i in view.cluster}}
        curves = [kinds[replace(view.cluster.instances[i], sequence=0)] for i in fastest_first]
        turn = np.empty(len(view.requests), dtype=np.int64)
        turn[longest_first] = np.searchsorted(partition(lengths, curves), np.arange(len(lengths)), side="right")
        placed: IntArray = fastest_first[turn[rows]]
        return placed


def seconds_per_token(instance: Instance, context: int) -> FloatArray:
    """Return seconds per token at 1 … the batch limit requests of `context` tokens, never falling."""
    batch = np.arange(1, instance.max_batch + 1)
    step = instance.step_time(batch, np.minimum(batch * context, instance.kv_capacity_tokens))
    rising: FloatArray = np.maximum.accumulate(step)
    return rising


def stretch_seconds(lengths: FloatArray, curve: FloatArray) -> float:
    """Return the predicted time of a stretch, lengths falling, on an instance with this curve."""
    if not len(lengths):
        return 0.0
    if len(lengths) <= len(curve):
        return float(lengths[0] * curve[len(lengths) - 1])
    return float(max(lengths[0] * curve[-1], lengths.sum() * curve[-1] / len(curve)))


def partition(lengths: FloatArray, curves: list[FloatArray]) -> IntArray:
    """Return up to which request each instance's stretch goes, so that the longest time of a stretch is least.

    Parameters
    ----------
    lengths
        In falling order. Shape (n,).
    curves
        For each instance seconds per token at 1 … its batch limit.
    """
    # Lists, because one number at a time is looked up.
    falling, before = lengths.tolist(), np.concatenate([[0.0], np.cumsum(lengths)]).tolist()
    curves_as_lists = [curve.tolist() for curve in curves]

    def ends(limit: float, first: int, instances: list[list[float]]) -> list[int]:
        found = []
        for curve in instances:
            if first < len(falling):
                within = bisect_right(curve, limit / falling[first])
                if within == len(curve):
                    total = before[first] + limit * len(curve) / curve[-1]
                    within = max(within, bisect_right(before, total) - 1 - first)
                first = min(first + within, len(falling))
            found.append(first)
        return found

    if not len(lengths):
        return np.zeros(len(curves), dtype=np.int64)
    latest = max(stretch_seconds(lengths, curve) for curve in curves) * (1 + 1e-9)
    best = ends(latest, 0, curves_as_lists)
    done = 0
    while done < len(curves):
        first = best[done - 1] if done else 0
        low, high = 0.0, latest
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if ends(middle, first, curves_as_lists[done:])[-1] == len(lengths) else (middle, high)
        if done and high > WORTH_IT * latest:
            break
        best[done:] = ends(high, first, curves_as_lists[done:])
        latest, done = high, done + 1
    return np.array(best, dtype=np.int64)
