"""Array types used throughout: one dtype each, so that columns never change type silently."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def as_integers(values: ArrayLike, what: str) -> IntArray:
    """Return `values` as a read-only int64 column; anything fractional or not a number is refused."""
    raw: NDArray[Any] = np.asarray(values)
    if raw.ndim != 1:
        raise ValueError(f"{what} must be one-dimensional, got {raw.ndim} dimensions")
    if raw.size and not np.issubdtype(raw.dtype, np.integer):
        if not np.issubdtype(raw.dtype, np.floating):
            raise ValueError(f"{what} must be whole numbers, got {raw.dtype}")
        bad = ~(np.isfinite(raw) & (raw == np.floor(raw)))
        if bad.any():
            raise ValueError(f"{what} must be whole numbers, got {raw[bad][0]} in row {int(bad.argmax())}")
    whole: IntArray = raw.astype(np.int64)
    whole.flags.writeable = False
    return whole


def as_floats(values: ArrayLike, what: str) -> FloatArray:
    """Return `values` as a read-only float64 column of finite numbers."""
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise ValueError(f"{what} must be one-dimensional, got {column.ndim} dimensions")
    bad = ~np.isfinite(column)
    if bad.any():
        raise ValueError(f"{what} must be finite, got {column[bad][0]} in row {int(bad.argmax())}")
    finite: FloatArray = column.copy()
    finite.flags.writeable = False
    return finite


def at_least(column: IntArray | FloatArray, floor: float, what: str) -> None:
    """Refuse a column that holds a value below `floor`, naming the first one."""
    bad = column < floor
    if bad.any():
        raise ValueError(f"{what} must be at least {floor:g}, got {column[bad][0]} in row {int(bad.argmax())}")
