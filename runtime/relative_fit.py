"""Least squares of relative errors, no coefficient of which is negative."""

import numpy as np
from scipy.optimize import nnls

from makespan.schedulers.types import FloatArray


def relative_fit(design: FloatArray, seconds: FloatArray, whole: FloatArray) -> FloatArray:
    """Return coefficients of the columns of `design` that fit `seconds` with errors relative to `whole`.

    Parameters
    ----------
    design
        A row for each measurement, a column for each coefficient. Shape (n, k).
    seconds, whole
        What is to be fitted, and what its errors are measured by. Shape (n,).

    Returns
    -------
    Shape (k,), not negative.
    """
    # Columns of very different sizes would make the smallest coefficients vanish in the tolerance of the solver.
    scale = np.maximum(np.abs(design).max(axis=0), np.finfo(np.float64).tiny)
    found: FloatArray = nnls(design / scale / whole[:, None], seconds / whole)[0] / scale
    return found
