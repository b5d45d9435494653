"""Lines below a step-time table: the linear laws that bounds and the solver's model are made of."""

from itertools import pairwise

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray


def supporting_lines(table_ps: IntArray) -> list[tuple[float, float]]:
    """Return lines (alpha, beta), both not negative, below the table at 1 … B that touch its lower hull.

    They are the level line through its lowest point, the edges of the hull, the line through the origin, and between
    two neighbours the line half way.
    """
    batch = np.arange(1, len(table_ps), dtype=np.float64)
    time = table_ps[1:].astype(np.float64)
    hull: list[int] = []
    for k in range(len(batch)):
        while len(hull) > 1 and _turns_down(batch, time, hull[-2], hull[-1], k):
            hull.pop()
        hull.append(k)
    steepest = float((time / batch).min())
    edges = [float((time[j] - time[i]) / (batch[j] - batch[i])) for i, j in pairwise(hull)]
    # Rounding to picoseconds breaks a straight piece into many edges of nearly one slope; one of them is enough.
    slopes = [0.0]
    for slope in [*(e for e in edges if 0 < e < steepest), steepest]:
        if slope - slopes[-1] > 1e-6 * steepest:
            slopes += [(slopes[-1] + slope) / 2, slope]
    # A line of given slope is as high as the table lets it be.
    return [(max(float((time - beta * batch).min()), 0.0), beta) for beta in slopes]


def _turns_down(x: FloatArray, y: FloatArray, i: int, j: int, k: int) -> bool:
    return bool((y[j] - y[i]) * (x[k] - x[i]) >= (y[k] - y[i]) * (x[j] - x[i]))
