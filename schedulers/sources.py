"""Information sources that need no training."""

from dataclasses import dataclass, field

import numpy as np

from makespan.schedulers.draws import normal
from makespan.schedulers.estimates import Estimates, Finished
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import FloatArray, IntArray

_LEVELS = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """A belief that is formed before the stage starts and does not change while it runs."""

    estimates: Estimates

    def estimate(self, requests: Requests) -> Estimates:
        """Return the belief."""
        return self.estimates

    def observe(self, event: Finished) -> None:
        """Learn nothing."""


def none(requests: Requests) -> Fixed:
    """Nothing is known: every request looks the same."""
    return Fixed(Estimates(np.ones(len(requests)), "none", beforehand=False))


def cap(requests: Requests) -> Fixed:
    """Every request is as long as it may become."""
    return Fixed(Estimates(requests.max_new_tokens.astype(np.float64), "cap", beforehand=False))


def prompt_length(requests: Requests) -> Fixed:
    """The output is as long as the prompt: the crudest ranker there is."""
    return Fixed(Estimates(requests.prompt_tokens.astype(np.float64), "prompt length"))


def oracle(output_tokens: IntArray) -> Fixed:
    """The true lengths: for measuring what information is worth, never for real use. Its quantiles leave nothing open."""
    lengths = output_tokens.astype(np.float64)
    return Fixed(Estimates(lengths, "oracle", _LEVELS, np.repeat(lengths[:, None], len(_LEVELS), axis=1)))


def noisy_oracle(requests: Requests, output_tokens: IntArray, sigma: float, seed: int = 0) -> Fixed:
    """The true lengths times a log-normal error of median 1.

    Parameters
    ----------
    requests, output_tokens
        What is asked for and the truth.
    sigma
        Standard deviation of the error's logarithm, 0 to 10.
    seed
        Of the errors; each belongs to a request, not to a row.
    """
    if not 0 <= sigma <= 10:
        raise ValueError(f"the noise of an oracle must lie between 0 and 10, got {sigma}")
    told = output_tokens * np.exp(sigma * normal(seed, requests.sequence, stream=21))
    quantiles = _drawn_to_the_mean(told, sigma, requests.max_new_tokens)
    return Fixed(Estimates(told, f"oracle with error {sigma:g}", _LEVELS, quantiles))


def _drawn_to_the_mean(told: FloatArray, sigma: float, cap: IntArray) -> FloatArray:
    """Return quantiles of lengths that were told with such an error: what is extreme is so in part by error.

    Lengths and errors are taken as log-normal; how much lengths differ is estimated from what was told (empirical Bayes:
    Efron and Morris, JASA 1973). Shape (n, len(_LEVELS)).
    """
    logs = np.log(told)
    variance = float(logs.var())
    share = max(0.05, 1 - sigma**2 / variance) if variance > 0 else 1.0
    middle = logs.mean() + share * (logs - logs.mean())
    normal_quantiles = np.array([-1.2815515655446004, 0.0, 1.2815515655446004])
    quantiles = np.exp(middle[:, None] + sigma * np.sqrt(share) * normal_quantiles)
    capped: FloatArray = np.minimum(quantiles, cap[:, None])
    return capped


def history(requests: Requests, previous_tokens: FloatArray) -> Fixed:
    """The length of the same prompt in the previous epoch (RhymeRL, arXiv 2508.18588).

    Parameters
    ----------
    requests
        What is asked for.
    previous_tokens
        What the prompt of each request needed then; NaN where it was not seen, for which the cap is taken.
    """
    known = np.isfinite(previous_tokens)
    return Fixed(Estimates(np.where(known, previous_tokens, requests.max_new_tokens), "previous epoch"))


@dataclass(slots=True, eq=False)
class Siblings:
    """The longest finished request of the group; the cap until one has finished (Seer, arXiv 2511.14617)."""

    requests: Requests
    _group: IntArray = field(init=False)
    _longest: FloatArray = field(init=False)
    _estimates: Estimates | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        groups, self._group = np.unique(self.requests.group, return_inverse=True)
        self._longest = np.zeros(len(groups))

    def estimate(self, requests: Requests) -> Estimates:
        """Return what the groups have shown so far."""
        if self._estimates is None:
            seen = self._longest[self._group]
            self._estimates = Estimates(np.where(seen > 0, seen, requests.max_new_tokens), "siblings", beforehand=False)
        return self._estimates

    def observe(self, event: Finished) -> None:
        """Raise the group's maximum; a finish that does not is no news."""
        groups = self._group[event.rows]
        before = self._longest[groups]
        np.maximum.at(self._longest, groups, event.output_tokens)
        if (self._longest[groups] > before).any():
            self._estimates = None
