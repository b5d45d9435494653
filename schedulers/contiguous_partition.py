"""Heddle's placement: the requests sorted by length are cut into one stretch for each instance (arXiv 2603.28101)."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View

HALVINGS = 64
"""After so many bisections the makespan of a partition is known to the last bit that matters."""


@dataclass(frozen=True, slots=True)
class ContiguousPartition:
    """The contiguous partition of least predicted makespan, the longest requests where a token alone is fastest.

    An instance takes ``longest * seconds per token(requests)`` for its stretch: per-token time alone, times the interference
    of the others. Interference here is the step-time table up to the batch limit and, beyond it, requests over slots, with
    KV of the mean context; the paper's own curve is not known. For costs of this kind some contiguous partition is optimal
    (Heddle's claim; papers.md has the exchange argument), and for a fixed order of instances the least makespan is found by
    bisection instead of Heddle's dynamic programme: an instance takes as many of the longest that are left as end in time.
    Of unequal instances, the order is Heddle's rank-ordered mapping.
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
        curves = seconds_per_token(view, len(lengths), float(held.mean()) if len(held) else 0.0)
        ends = partition(lengths, [curves[i] for i in fastest_first])
        turn = np.empty(len(view.requests), dtype=np.int64)
        turn[longest_first] = np.searchsorted(ends, np.arange(len(lengths)), side="right")
        placed: IntArray = fastest_first[turn[rows]]
        return placed


def seconds_per_token(view: View, most: int, context: float) -> list[FloatArray]:
    """Return for each instance seconds per token at 1 … `most` requests of `context` tokens, never falling."""
    kinds: dict[object, FloatArray] = {}
    curves = []
    for instance in view.cluster:
        kind = replace(instance, sequence=0)
        if kind not in kinds:
            requests = np.arange(1, most + 1)
            batch = np.minimum(requests, instance.max_batch)
            step = instance.step_time(batch, np.minimum(batch * int(context), instance.kv_capacity_tokens))
            kinds[kind] = np.maximum.accumulate(step * (requests / batch))
        curves.append(kinds[kind])
    return curves


def partition(lengths: FloatArray, curves: list[FloatArray]) -> IntArray:
    """Return up to which request each instance's stretch goes, so that the largest ``longest * curve[count]`` is least.

    Parameters
    ----------
    lengths
        In falling order. Shape (n,).
    curves
        For each instance seconds per token at 1 … n requests, never falling. Shape (n,) each.
    """

    def ends(limit: float) -> list[int]:
        first, found = 0, []
        for curve in curves:
            if first < len(lengths):
                first += int(np.searchsorted(curve[: len(lengths) - first], limit / lengths[first], side="right"))
            found.append(first)
        return found

    if not len(lengths):
        return np.zeros(len(curves), dtype=np.int64)
    low, high = 0.0, max(float(lengths[0] * curve[-1]) for curve in curves) * (1 + 1e-9)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if ends(middle)[-1] == len(lengths) else (middle, high)
    return np.array(ends(high), dtype=np.int64)
