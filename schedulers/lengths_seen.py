"""How long outputs are, by what has ended in this stage and what still runs, and by what may lie beyond.

Where nothing has been seen the curve goes on in one of several ways, and all of them are kept: nothing ends before the cap,
requests end at a constant rate (exponential), or at a rate that falls as one over the length (Pareto). Short lengths do not
tell which it is.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View

_SHARES = np.concatenate([[0.0], np.geomspace(2.0**-10, 2.0**-4, 24, endpoint=False), np.linspace(2.0**-4, 1.0, 46)])
"""Lengths at which curves are kept, as shares of the cap: fine near 0, where most end, and fine near the cap."""

LEAST = 1e-12
"""What shares are taken to be at least where something is divided by them."""


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Survival curves on one grid of lengths, one for each way in which they may go on.

    Parameters
    ----------
    tokens
        Lengths, increasing from 0 to the cap. Shape (G,).
    beyond
        Share of requests that are longer, linear between these lengths; what is left at the cap ends there. Shape (W, G).
    """

    tokens: FloatArray
    beyond: FloatArray

    @property
    def area(self) -> FloatArray:
        """Mean length if all were cut at each of the lengths, shape (W, G)."""
        area = np.zeros_like(self.beyond)
        np.cumsum((self.beyond[:, 1:] + self.beyond[:, :-1]) / 2 * np.diff(self.tokens), axis=1, out=area[:, 1:])
        return area

    @property
    def mean_left(self) -> FloatArray:
        """Mean tokens that are yet to come at each length, on the average over all ways. Shape (G,)."""
        area = self.area
        left: FloatArray = ((area[:, -1:] - area) / np.maximum(self.beyond, LEAST)).mean(axis=0)
        return left

    @property
    def residual(self) -> FloatArray:
        """Of those that have reached one length, the share that generates so many more tokens. Shape (W, G, G)."""
        at, part = self.between(self.tokens[:, None] + self.tokens)
        longer = self.beyond[:, at] * (1 - part) + self.beyond[:, at + 1] * part
        left: FloatArray = np.where(part < 1, longer, 0.0) / np.maximum(self.beyond, LEAST)[:, :, None]
        return left

    def between(self, tokens: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return the point of the grid before each of these, and how far it is to the next; 1 from the cap on."""
        at = np.minimum(np.searchsorted(self.tokens, tokens, side="right") - 1, len(self.tokens) - 2)
        part: FloatArray = np.minimum((tokens - self.tokens[at]) / np.diff(self.tokens)[at], 1.0)
        return at, part

    def counts(self, generated: IntArray) -> FloatArray:
        """Return how many of these have reached each point of the grid and not the next, shape (G,)."""
        at = np.searchsorted(self.tokens, generated, side="right") - 1
        return np.bincount(np.minimum(at, len(self.tokens) - 2), minlength=len(self.tokens)).astype(np.float64)


@lru_cache(maxsize=16)
def _grid(cap: int) -> FloatArray:
    tokens = cap * _SHARES
    tokens.setflags(write=False)
    return tokens


def lengths_seen(view: View) -> Curves:
    """Return the curves of the requests of a stage, of which some must have ended.

    Notes
    -----
    The product-limit estimator (Kaplan and Meier, J. Am. Stat. Assoc. 1958) on a grid; those that left within a bin count
    half. One more request stands for what was not seen and ends by the way in which the curve may go on, so that the ways
    part only where little has been seen.
    """
    caps, generated = view.requests.max_new_tokens, view.generated
    tokens = _grid(int(caps.max()))
    # What was cut off at a cap says only that it is as long.
    done = view.ended & (generated < caps)
    ended = np.sort(generated[done]).astype(np.float64)
    left = np.sort(generated[~done & (generated > 0)]).astype(np.float64)
    ends, leaves = np.searchsorted(ended, tokens, side="right"), np.searchsorted(left, tokens, side="right")
    at_risk = len(ended) - ends[:-1] + len(left) - leaves[:-1] - np.diff(leaves) / 2
    hazard = (np.diff(ends) + _ways_on(tokens, ended, left)) / (at_risk + 1)
    beyond = np.ones((len(hazard), len(tokens)))
    np.cumprod(1 - np.minimum(hazard, 1.0), axis=1, out=beyond[:, 1:])
    return Curves(tokens, beyond)


def _ways_on(tokens: FloatArray, ended: FloatArray, left: FloatArray) -> FloatArray:
    """Return the share of each bin's requests that ends in it if the curve goes on in each way, shape (W, G - 1).

    Rates are those of what lies beyond the median of what has ended; for the Pareto way it is Hill's estimate (Ann. Stat.
    1975) with those that still run, and one request more of each kind.
    """
    # Where all have been cut off at the cap nothing has ended by itself.
    middle = max(float(ended[len(ended) // 2]) if len(ended) else 0.0, float(tokens[1]))
    upper, longer = ended[ended > middle], left[left > middle]
    count = len(upper) + 1.0
    rate = count / (float((upper - middle).sum() + (longer - middle).sum()) + middle)
    power = count / (float(np.log(upper / middle).sum() + np.log(longer / middle).sum()) + 1.0)
    constant = 1 - np.exp(-rate * np.diff(tokens))
    falling = 1 - (np.maximum(tokens[:-1], tokens[1] / 2) / tokens[1:]) ** power
    return np.array([np.zeros(len(constant)), constant, falling])
