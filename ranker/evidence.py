"""What a prompt's text and its earlier lengths say about the shape of its lengths, as log likelihoods that add up."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.parameters import Parameters
from makespan.ranker.prompt_groups import PromptGroups
from makespan.schedulers.types import FloatArray

USUAL_DRIFT = (6.9 / 64.8) ** 0.5
"""How far prompts move between policy versions, over how far they lie apart, where nothing was measured (TailSieve)."""


@dataclass(frozen=True, slots=True)
class TextEvidence:
    """A predicted log length as a noisy reading of the mean log length of the prompt's shape.

    ``prediction = intercept + slope · mean + error``, the error normal with standard deviation `deviation`.
    """

    intercept: float
    slope: float
    deviation: float

    @classmethod
    def fit(cls, shapes: LengthShapes, groups: PromptGroups, predicted: FloatArray) -> Self:
        """Fit to predictions for groups that the predictor was not trained on, shape (G,).

        The shapes of the groups are known only in part; each counts as far as its samples allow, so that noise in the
        labels is not taken for error of the text.
        """
        intercept, slope = float(predicted.mean()), 0.0
        deviation = max(float(predicted.std()), 1e-3)
        said = shapes.log_weight + shapes.log_likelihood(groups)
        for _ in range(20):
            evidence = cls(intercept, slope, deviation)
            share = shapes.posterior(said + evidence.log_likelihood(shapes, predicted))
            total = share.sum(axis=0)
            middle, centre = float(total @ shapes.log_mean / total.sum()), float(predicted.mean())
            across = share @ (shapes.log_mean - middle)
            square = float(total @ (shapes.log_mean - middle) ** 2)
            slope = max(float(across @ (predicted - centre)) / max(square, 1e-9), 0.0)
            intercept = centre - slope * middle
            error = predicted[:, None] - intercept - slope * shapes.log_mean[None, :]
            deviation = max(float(np.sqrt((share * error**2).sum() / len(predicted))), 1e-3)
        return cls(intercept, slope, deviation)

    def log_likelihood(self, shapes: LengthShapes, predicted: FloatArray) -> FloatArray:
        """Return what predictions say about shapes, shape (n, K)."""
        error = predicted[:, None] - self.intercept - self.slope * shapes.log_mean[None, :]
        said: FloatArray = -0.5 * (error / self.deviation) ** 2
        return said

    def parameters(self) -> Parameters:
        """Return what is saved."""
        return Parameters({"text": np.array([self.intercept, self.slope, self.deviation])})

    @classmethod
    def of(cls, parameters: Parameters) -> Self:
        """Rebuild from what was saved."""
        return cls(*parameters.array("text").tolist())


@dataclass(frozen=True, slots=True)
class Drift:
    """How the mean log length of a prompt moves from one policy version to the next: `shift`, give or take `deviation`."""

    shift: float
    deviation: float

    @classmethod
    def usual(cls, shapes: LengthShapes) -> Self:
        """Return what is to be expected where no two versions of a prompt were seen."""
        middle = float(shapes.weight @ shapes.log_mean)
        between = float(np.sqrt(shapes.weight @ (shapes.log_mean - middle) ** 2))
        return cls(0.0, max(USUAL_DRIFT * between, 0.05))

    @classmethod
    def fit(cls, shapes: LengthShapes, earlier: PromptGroups, later: PromptGroups) -> Self:
        """Choose the drift under which the later samples of the same prompts (row by row) are most likely."""
        before = shapes.posterior(shapes.log_weight + shapes.log_likelihood(earlier))
        after = shapes.log_likelihood(later)
        peak = after.max(axis=1, keepdims=True)
        likely = np.exp(after - peak)

        def fitness(drift: "Drift") -> float:
            return float(np.log((drift.carried(shapes, before) * likely).sum(axis=1) + 1e-300).sum())

        middle = float(
            (shapes.posterior(shapes.log_weight + after) @ shapes.log_mean).mean() - (before @ shapes.log_mean).mean()
        )
        shifts = middle + np.linspace(-0.5, 0.5, 11)
        tried = [cls(float(s), d) for s in shifts for d in (0.03, 0.06, 0.1, 0.15, 0.22, 0.33, 0.5, 0.75, 1.1)]
        return max(tried, key=fitness)

    def carried(self, shapes: LengthShapes, share: FloatArray) -> FloatArray:
        """Return the shapes of prompts in the next version, given those in this one. Shape (n, K) both."""
        moved = shapes.log_mean[None, :] - shapes.log_mean[:, None] - self.shift
        # Moves to shapes of another spread are judged by how common those are.
        step = LengthShapes.posterior(shapes.log_weight[None, :] - 0.5 * (moved / self.deviation) ** 2)
        carried: FloatArray = share @ step
        return carried

    def log_prior(self, shapes: LengthShapes, said: FloatArray) -> FloatArray:
        """Return the log prior of the next version from what an earlier one said (log likelihoods with prior). (n, K)."""
        prior: FloatArray = np.log(self.carried(shapes, shapes.posterior(said)) + 1e-12)
        return prior

    def parameters(self) -> Parameters:
        """Return what is saved."""
        return Parameters({"drift": np.array([self.shift, self.deviation])})

    @classmethod
    def of(cls, parameters: Parameters) -> Self:
        """Rebuild from what was saved."""
        return cls(*parameters.array("drift").tolist())
