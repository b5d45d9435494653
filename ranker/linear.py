"""Ridge regression on standardised features, plain or on a kernel; the strength is chosen by leave-one-out error."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.linear_model import RidgeCV

from makespan.ranker.parameters import Parameters
from makespan.schedulers.types import FloatArray

_STRENGTHS = np.logspace(-1, 5, 19)
_KERNEL_STRENGTHS = np.logspace(-3, 2, 16)
_MOST_LANDMARKS = 1500


@dataclass(slots=True, eq=False)
class Ridge:
    """Linear ridge regression.

    Parameters
    ----------
    centre, scale
        Of every feature, shape (d,).
    weights
        Shape (d + 1,), the constant last.
    left_out
        What each training row was predicted from all others. Shape (n,), empty once loaded.
    """

    centre: FloatArray
    scale: FloatArray
    weights: FloatArray
    left_out: FloatArray

    @classmethod
    def fit(cls, features: FloatArray, target: FloatArray) -> Self:
        """Fit to rows of features, shape (n, d), and their targets, shape (n,)."""
        centre, scale = _standard(features)
        weights, left_out = _ridge((features - centre) / scale, target, _STRENGTHS)
        return cls(centre, scale, weights, left_out)

    def predict(self, features: FloatArray) -> FloatArray:
        """Return one prediction for each row."""
        predicted: FloatArray = (features - self.centre) / self.scale @ self.weights[:-1] + self.weights[-1]
        return predicted

    def parameters(self) -> Parameters:
        """Return what is saved."""
        return Parameters({"centre": self.centre, "scale": self.scale, "weights": self.weights})

    @classmethod
    def of(cls, parameters: Parameters) -> Self:
        """Rebuild from what was saved."""
        array = parameters.array
        return cls(array("centre"), array("scale"), array("weights"), np.empty(0))


@dataclass(slots=True, eq=False)
class KernelRidge:
    """Ridge regression on a Gaussian kernel, with landmarks where there are many rows (Nyström's method).

    Parameters
    ----------
    centre, scale
        Of every feature, shape (d,).
    landmarks
        Standardised training rows, at most 1,500. Shape (m, d).
    weights
        Of the landmarks, the constant last. Shape (m + 1,).
    left_out
        What each training row was predicted from all others. Shape (n,), empty once loaded.
    """

    centre: FloatArray
    scale: FloatArray
    landmarks: FloatArray
    weights: FloatArray
    left_out: FloatArray

    @classmethod
    def fit(cls, features: FloatArray, target: FloatArray, seed: int = 0) -> Self:
        """Fit to rows of features, shape (n, d), and their targets, shape (n,)."""
        centre, scale = _standard(features)
        rows = (features - centre) / scale
        if len(rows) > _MOST_LANDMARKS:
            landmarks = rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:_MOST_LANDMARKS])]
        else:
            landmarks = rows
        # K^(-1/2) makes the ridge on landmark features the ridge in the space of the kernel.
        values, vectors = np.linalg.eigh(_gaussian(landmarks, landmarks))
        kept = values > 1e-8 * values[-1]
        root = vectors[:, kept] / np.sqrt(values[kept])
        weights, left_out = _ridge(_gaussian(rows, landmarks) @ root, target, _KERNEL_STRENGTHS)
        return cls(centre, scale, landmarks, np.append(root @ weights[:-1], weights[-1]), left_out)

    def predict(self, features: FloatArray) -> FloatArray:
        """Return one prediction for each row."""
        kernel = _gaussian((features - self.centre) / self.scale, self.landmarks)
        predicted: FloatArray = kernel @ self.weights[:-1] + self.weights[-1]
        return predicted

    def parameters(self) -> Parameters:
        """Return what is saved."""
        arrays = {"centre": self.centre, "scale": self.scale, "landmarks": self.landmarks, "weights": self.weights}
        return Parameters(arrays)

    @classmethod
    def of(cls, parameters: Parameters) -> Self:
        """Rebuild from what was saved."""
        array = parameters.array
        return cls(array("centre"), array("scale"), array("landmarks"), array("weights"), np.empty(0))


def _standard(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    spread = features.std(axis=0)
    return features.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)


def _ridge(rows: FloatArray, target: FloatArray, strengths: FloatArray) -> tuple[FloatArray, FloatArray]:
    ridge = RidgeCV(strengths, store_cv_results=True).fit(rows, target)
    best = int(np.argmin(ridge.cv_results_.mean(axis=0)))
    # scikit-learn keeps squared errors; the sign is that of the error in sample, which leaving one out only enlarges.
    error = np.sqrt(ridge.cv_results_[:, best]) * np.sign(target - ridge.predict(rows))
    return np.append(ridge.coef_, ridge.intercept_), target - error


def _gaussian(rows: FloatArray, landmarks: FloatArray) -> FloatArray:
    """Return exp(-|x - y|² / 2d): d is the mean squared norm of a standardised row."""
    square = (rows**2).sum(1)[:, None] + (landmarks**2).sum(1)[None, :] - 2 * rows @ landmarks.T
    kernel: FloatArray = np.exp(-np.maximum(square, 0) / (2 * rows.shape[1]))
    return kernel
