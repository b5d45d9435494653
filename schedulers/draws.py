"""Seeded random numbers that belong to a counter, not to a position in an array.

A draw is a hash of (seed, stream, counter). So it does not depend on how many draws came before, on the order of
rows or on the process: what relabelling and reproducibility (laws L6, L7) need.
"""

import numpy as np
from numpy.typing import NDArray

from makespan.schedulers.types import FloatArray, IntArray


def uniform(seed: int, counters: IntArray, stream: int = 0) -> FloatArray:
    """Return one number in (0, 1) for each counter.

    The hash is SplitMix64's finaliser (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
    OOPSLA 2014), applied to the counter after the seed and the stream have been mixed in.
    """
    with np.errstate(over="ignore"):
        state = _mix(np.uint64(seed % 2**64) + np.uint64(0x9E3779B97F4A7C15) * np.uint64(stream + 1))
        bits = _mix(counters.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + state)
    numbers: FloatArray = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return numbers


def normal(seed: int, counters: IntArray, stream: int = 0) -> FloatArray:
    """Return one standard normal number for each counter (Box and Muller 1958)."""
    radius = np.sqrt(-2.0 * np.log(uniform(seed, counters, 2 * stream)))
    numbers: FloatArray = radius * np.cos(2.0 * np.pi * uniform(seed, counters, 2 * stream + 1))
    return numbers


def _mix(words: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    z: NDArray[np.uint64] = np.asarray(words, dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
