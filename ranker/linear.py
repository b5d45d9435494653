"""Ridge regression on standardised features, plain or on a kernel; the strength is chosen by leave-one-out error."""

from dataclasses import dataclass
from typing import Self

import numpy as np

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
    """

    centre: FloatArray
    scale: FloatArray
    weights: FloatArray

    @classmethod
    def fit(cls, features: FloatArray, target: FloatArray) -> Self:
        """Fit to rows of features, shape (n, d), and their targets, shape (n,)."""
        centre, scale = _standard(features)
        weights = _ridge((features - centre) / scale, target, _STRENGTHS)
        return cls(centre, scale, weights)

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
        return cls(array("centre"), array("scale"), array("weights"))


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
    """

    centre: FloatArray
    scale: FloatArray
    landmarks: FloatArray
    weights: FloatArray

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
        weights = _ridge(_gaussian(rows, landmarks) @ root, target, _KERNEL_STRENGTHS)
        return cls(centre, scale, landmarks, np.append(root @ weights[:-1], weights[-1]))

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
        return cls(array("centre"), array("scale"), array("landmarks"), array("weights"))


def _standard(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    spread = features.std(axis=0)
    return features.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)


def _ridge(rows: FloatArray, target: FloatArray, strengths: FloatArray) -> FloatArray:
    """Return the weights, the constant last, of the strength whose leave-one-out error is least.

    One eigendecomposition, of the smaller of the two Gram matrices, serves every strength and every row left out (Rifkin
    and Lippert, MIT-CSAIL-TR-2007-025); scikit-learn's takes a singular value decomposition, several times slower here.
    """
    middle, level = rows.mean(axis=0), target.mean()
    x, y = rows - middle, target - level
    primal = x.shape[1] <= len(x)
    values, vectors = np.linalg.eigh(x.T @ x if primal else x @ x.T)
    values = np.maximum(values, 0)
    basis = x @ vectors if primal else vectors * np.sqrt(values)
    along, square = basis.T @ y, basis**2

    def left_out(strength: float) -> float:
        shrunk = 1 / (values + strength)
        influence = np.minimum(square @ shrunk + 1 / len(x), 1 - 1e-9)
        return float((((y - basis @ (shrunk * along)) / (1 - influence)) ** 2).mean())

    best = min(strengths.tolist(), key=left_out)
    shrunk = along / (values + best)
    weights = vectors @ shrunk if primal else x.T @ (vectors @ (shrunk / np.sqrt(np.maximum(values, 1e-12))))
    return np.append(weights, level - middle @ weights)


def _gaussian(rows: FloatArray, landmarks: FloatArray) -> FloatArray:
    """Return exp(-|x - y|² / 2d): d is the mean squared norm of a standardised row."""
    square = (rows**2).sum(1)[:, None] + (landmarks**2).sum(1)[None, :] - 2 * rows @ landmarks.T
    kernel: FloatArray = np.exp(-np.maximum(square, 0) / (2 * rows.shape[1]))
    return kernel
