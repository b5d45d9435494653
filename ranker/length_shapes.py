"""What lengths of one prompt look like: a dictionary of distributions, learned from groups of samples.

Every prompt is taken to draw its lengths from one of K distributions, the shapes. How often each occurs, and what it looks
like, is learned by expectation and maximisation from the groups of a training set: a mixture of multinomials over
log-spaced bins (nonparametric maximum likelihood: Kiefer and Wolfowitz, Ann. Math. Stat. 1956; Efron, Biometrika 2016).
So nothing is assumed about tails, about prompts whose answers are either short or run to the cap, or about prompts that
vary more than others. A sample that was cut off says only that it lies beyond its cap.

All that is known about a prompt then is one number for each shape, its log likelihood, and evidence of any kind adds up.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.stats import t as student

from makespan.ranker.censoring import log_lengths, variance_components
from makespan.ranker.length_bins import LengthBins
from makespan.ranker.parameters import Parameters
from makespan.ranker.prompt_groups import PromptGroups
from makespan.schedulers.types import FloatArray, IntArray

_LOCATIONS = 48
_SPREADS = (0.15, 0.4, 0.9, 1.7)
_BLUR = 1.5
_FREEDOM = 4.0
_ROUNDS = 40
_FLOOR = 1e-6

# A shape keeps its first form until the samples that it explains outweigh so many.
_PRIOR_SAMPLES = 100.0


@dataclass(frozen=True, eq=False)
class LengthShapes:
    """K distributions over bins of length, and how often each occurs.

    Parameters
    ----------
    bins
        The grid.
    mass
        Probability of each bin under each shape, shape (K, B).
    weight
        Share of prompts of each shape, shape (K,).
    """

    bins: LengthBins
    mass: FloatArray
    weight: FloatArray

    @classmethod
    def fit(cls, groups: PromptGroups) -> Self:
        """Learn from groups; more than one sample per prompt is what tells spread within from spread between."""
        bins = LengthBins.covering(groups.output_tokens)
        values = log_lengths(groups)
        _, within = variance_components(values, groups.group)
        first = _student_shapes(bins, values, np.sqrt(within))
        finished, cut = counts(bins, groups)
        mass, weight = first, np.full(len(first), 1 / len(first))
        learn_shapes = bool((groups.samples > 1).any())
        for _ in range(_ROUNDS):
            shapes = cls(bins, mass, weight)
            share = shapes.posterior(np.log(weight) + finished @ shapes.log_mass.T + cut @ shapes.log_beyond.T)
            weight = _smooth_weight(share.sum(axis=0))
            if learn_shapes:
                mass = _maximised(share, finished, cut, shapes, first)
        return cls(bins, mass, weight)

    @classmethod
    def untrained(cls, cap: int) -> Self:
        """Return shapes for lengths about which nothing is known but a cap: any location is as likely as another.

        The spread within a prompt is a log standard deviation of 0.5, give or take: with means spread over two decades that
        is the share within prompts that TailSieve measured. Lengths beyond the cap are those that it cuts off.
        """
        bins = LengthBins(max(4 * cap, 64))
        values = np.linspace(np.log(2.0), np.log(float(bins.longest)), 512)
        mass = _student_shapes(bins, values, 0.5)
        return cls(bins, mass, np.full(len(mass), 1 / len(mass)))

    def __len__(self) -> int:
        return len(self.weight)

    @cached_property
    def log_weight(self) -> FloatArray:
        """Log share of each shape, shape (K,)."""
        logs: FloatArray = np.log(self.weight)
        return logs

    @cached_property
    def log_mass(self) -> FloatArray:
        """Log probability of each bin, shape (K, B)."""
        logs: FloatArray = np.log(self.mass)
        return logs

    @cached_property
    def beyond(self) -> FloatArray:
        """Probability of the bin or a later one: of what is known to be at least that long. Shape (K, B)."""
        tails: FloatArray = np.cumsum(self.mass[:, ::-1], axis=1)[:, ::-1]
        return tails

    @cached_property
    def log_beyond(self) -> FloatArray:
        """Its logarithm, shape (K, B)."""
        logs: FloatArray = np.log(self.beyond)
        return logs

    @cached_property
    def log_mean(self) -> FloatArray:
        """Mean log length under each shape, shape (K,)."""
        means: FloatArray = self.mass @ self.bins.log_tokens
        return means

    def expected(self, cap: int) -> FloatArray:
        """Return the mean length, cut at `cap`, of what is known to lie in a bin or beyond. Shape (K, B)."""
        tokens = np.minimum(self.bins.tokens, cap)
        tails = np.cumsum((self.mass * tokens)[:, ::-1], axis=1)[:, ::-1]
        means: FloatArray = tails / self.beyond
        return means

    @staticmethod
    def posterior(log_likelihood: FloatArray) -> FloatArray:
        """Return the probability of each shape from the log of prior times likelihood, shape (n, K)."""
        shifted = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
        share: FloatArray = shifted / shifted.sum(axis=1, keepdims=True)
        return share

    def log_likelihood(self, groups: PromptGroups) -> FloatArray:
        """Return what the samples of each group say about its shape, without any prior. Shape (G, K)."""
        finished, cut = counts(self.bins, groups)
        said: FloatArray = finished @ self.log_mass.T + cut @ self.log_beyond.T
        return said

    def quantiles(
        self, share: FloatArray, levels: tuple[float, ...], cap: FloatArray, reached: IntArray | None = None
    ) -> FloatArray:
        """Return quantiles of the length, in tokens, shape (n, len(levels)).

        Parameters
        ----------
        share
            Probability of each shape, shape (n, K).
        levels
            Probabilities, increasing.
        cap
            Cap on new tokens, shape (n,).
        reached
            The bin that each length is known to lie in or beyond, shape (n,); the first where it is None. Then `share` is
            what is believed given that too.
        """
        weights = share if reached is None else share / self.beyond.T[reached]
        rows, size = np.arange(len(share)), len(self.bins)
        below = np.zeros((len(share), size + 1))
        np.cumsum(weights @ self.mass, axis=1, out=below[:, 1:])
        below /= below[:, -1:]
        before = below[rows, 0 if reached is None else reached]
        # One sorted array of all rows, each lifted above the one before.
        lifted = (below[:, 1:] + 2 * rows[:, None]).ravel()
        low, high = self.bins.edges.astype(np.float64), np.append(self.bins.edges[1:], self.bins.longest + 1.0)
        found = np.empty((len(share), len(levels)))
        for column, level in enumerate(levels):
            wanted = before + level * (1 - before)
            at = np.minimum(np.searchsorted(lifted, wanted + 2 * rows) - size * rows, size - 1)
            mass = np.maximum(below[rows, at + 1] - below[rows, at], 1e-12)
            inside = np.clip((wanted - below[rows, at]) / mass, 0, 1)
            found[:, column] = low[at] + inside * (high[at] - low[at])
        quantiles: FloatArray = np.minimum(np.maximum(found, 1.0), cap[:, None])
        return quantiles

    def draw(self, share: FloatArray, count: int, draws: int, cap: FloatArray, seed: int = 0) -> IntArray:
        """Return lengths of `count` samples of each prompt, drawn `draws` times. Shape (n, draws, count).

        Parameters
        ----------
        share
            Probability of each shape, shape (n, K).
        count, draws
            Samples of a prompt, which share a shape, and how often they are drawn.
        cap
            Cap on new tokens, shape (n,).
        seed
            Of the draws.
        """
        rng = np.random.default_rng(seed)
        shape = _drawn(np.cumsum(share, axis=1), rng.random((len(share), draws)))
        below = np.cumsum(self.mass, axis=1)
        bins = np.empty((len(share), draws, count), dtype=np.int64)
        for k in np.unique(shape):
            chosen = shape == k
            bins[chosen] = np.searchsorted(below[k], rng.random((int(chosen.sum()), count)) * below[k, -1], side="right")
        drawn: IntArray = np.minimum(self.bins.tokens[bins], cap[:, None, None]).astype(np.int64)
        return drawn

    def parameters(self) -> Parameters:
        """Return what is saved."""
        return Parameters({"mass": self.mass, "weight": self.weight, "longest": np.array([float(self.bins.longest)])})

    @classmethod
    def of(cls, parameters: Parameters) -> Self:
        """Rebuild from what was saved."""
        longest = int(parameters.array("longest")[0])
        return cls(LengthBins(longest), parameters.array("mass"), parameters.array("weight"))


def counts(bins: LengthBins, groups: PromptGroups) -> tuple[FloatArray, FloatArray]:
    """Return how many samples of each group ended in each bin, and how many were cut off in it. Shape (G, B) each."""
    found = np.zeros((2, len(groups), len(bins)))
    np.add.at(found, (groups.capped.astype(np.int64), groups.group, bins.of(groups.output_tokens)), 1)
    return found[0], found[1]


def _student_shapes(bins: LengthBins, values: FloatArray, within: float) -> FloatArray:
    """Return log-t distributions at a grid of locations and spreads: heavier tails than log-normal (TIE, 2604.00499)."""
    low, high = np.quantile(values, (0.002, 0.998))
    locations = np.linspace(low, max(high, low + 0.5), _LOCATIONS)
    edges = np.append(np.log1p(bins.edges - 0.5), np.inf)
    edges[0] = -np.inf
    shapes = []
    for spread in _SPREADS:
        scale = max(spread * within, 0.05)
        below = student.cdf((edges[None, :] - locations[:, None]) / scale, _FREEDOM)
        shapes.append(np.diff(below, axis=1))
    return _floored(np.concatenate(shapes))


def _maximised(share: FloatArray, finished: FloatArray, cut: FloatArray, old: LengthShapes, first: FloatArray) -> FloatArray:
    """Return new shapes: what each explains, a sample that was cut off spread beyond its bin as the old shape has it."""
    beyond = np.cumsum((share.T @ cut) / old.beyond, axis=1)
    explained = share.T @ finished + old.mass * beyond
    # Half a bin of blur: the exact bin of a sample is chance.
    smooth = gaussian_filter1d(explained, 1.0, axis=1, mode="nearest")
    return _floored(smooth + _PRIOR_SAMPLES * first)


def _smooth_weight(explained: FloatArray) -> FloatArray:
    """Return shares of prompts that vary smoothly with the location; without it they sit on a few locations only."""
    smooth = gaussian_filter1d(explained.reshape(len(_SPREADS), -1), _BLUR, axis=1, mode="nearest").ravel() + 0.02
    weight: FloatArray = smooth / smooth.sum()
    return weight


def _drawn(below: FloatArray, uniform: FloatArray) -> IntArray:
    """Return where each number falls in the cumulated probabilities of its row."""
    at: IntArray = (below[:, None, :-1] < uniform[:, :, None]).sum(axis=2)
    return at


def _floored(mass: FloatArray) -> FloatArray:
    scaled = mass / mass.sum(axis=1, keepdims=True) + _FLOOR
    normal: FloatArray = scaled / scaled.sum(axis=1, keepdims=True)
    return normal
