"""What is measured on a timeline."""

import numpy as np

from makespan.runtime.engine import Timeline
from makespan.schedulers.types import FloatArray

TAIL_SHARE = 0.1
SLICES = 160


def makespan(timeline: Timeline) -> float:
    """Return seconds from the start of the stage to the last end."""
    return float(timeline.ended.max())


def tail_time(timeline: Timeline) -> float:
    """Return seconds during which at most a tenth of the requests are unfinished."""
    ended = np.sort(timeline.ended)
    unfinished_at_most = int(TAIL_SHARE * len(ended))
    return float(ended[-1] - ended[len(ended) - unfinished_at_most - 1])


def time_share(timeline: Timeline) -> dict[str, float]:
    """Return the shares of instance time spent on prefill, decode, computing again, and nothing."""
    total = makespan(timeline) * len(timeline.prefill_s)
    shares = {
        "prefill": float(timeline.prefill_s.sum() / total),
        "decode": float(timeline.decode_s.sum() / total),
        "recompute": float(timeline.recompute_s.sum() / total),
    }
    return {**shares, "idle": max(0.0, 1.0 - sum(shares.values()))}


def completion(timeline: Timeline) -> tuple[float, ...]:
    """Return the seconds at which 0, 1, … 100 percent of the requests had ended."""
    ended = np.sort(timeline.ended)
    ranks = np.ceil(np.arange(101) / 100 * len(ended)).astype(int) - 1
    return tuple(float(ended[r]) if r >= 0 else 0.0 for r in ranks)


def batch_timeline(timeline: Timeline, instances: int, slices: int = SLICES) -> tuple[tuple[float, ...], ...]:
    """Return the mean number of requests under way on each instance, in equal slices of the makespan.

    A request counts from its first admission to its end; the moments in which it waits after a preemption are not told
    apart.
    """
    edges = np.linspace(0, makespan(timeline), slices + 1)
    ran = ~np.isnan(timeline.admitted)
    rows = []
    for i in range(instances):
        mine = ran & (timeline.instance == i)
        rows.append(_mean_count(timeline.admitted[mine], timeline.ended[mine], edges))
    return tuple(tuple(round(float(x), 3) for x in row) for row in rows)


def _mean_count(starts: FloatArray, ends: FloatArray, edges: FloatArray) -> FloatArray:
    """Return the mean number of intervals that are open within each slice."""

    def busy_before(moments: FloatArray) -> FloatArray:
        # Total time that intervals beginning at `moments` have been open, up to each edge.
        ordered = np.sort(moments)
        sums = np.concatenate([[0.0], np.cumsum(ordered)])
        count = np.searchsorted(ordered, edges)
        total: FloatArray = count * edges - sums[count]
        return total

    mean: FloatArray = np.diff(busy_before(starts) - busy_before(ends)) / np.diff(edges)
    return mean
