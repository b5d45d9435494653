"""An oracle made as bad as a ranker is: of the truly longest requests it finds as many as was published."""

from collections.abc import Mapping

import numpy as np

from makespan.harness.workload import Workload
from makespan.schedulers.draws import normal, uniform
from makespan.schedulers.estimates import Estimates
from makespan.schedulers.sources import Fixed
from makespan.schedulers.types import FloatArray, IntArray

_SIGMAS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 1.0)
_GUESSED = tuple(k / 50 for k in range(21))


def tail_recall(estimates: FloatArray, output_tokens: IntArray, share: float) -> float:
    """Return the part of the longest `share` of the requests that is among as many with the longest estimates."""
    count = max(1, round(share * len(output_tokens)))
    longest = np.argsort(-output_tokens, kind="stable")[:count]
    believed = np.argsort(-estimates, kind="stable")[:count]
    return float(np.isin(longest, believed).mean())


def ranker_of_recalls(workload: Workload, recalls: Mapping[float, float], seed: int = 0, *, guesses: bool = True) -> Fixed:
    """Return a ranker whose recalls of the longest are as near as can be to the given ones.

    Two errors are mixed: every length carries a log-normal error, and for some requests the ranker has no idea and answers
    with the length of another one. Their sizes are those of a grid that come nearest in the squares of all recalls; the
    errors themselves belong to the requests.

    Parameters
    ----------
    workload
        Whose lengths are estimated.
    recalls
        Recall of the longest share of the requests, by share.
    seed
        Of the errors.
    guesses
        Whether the second kind of error is there.
    """
    for share, recall in recalls.items():
        if not 0 < share < recall <= 1:
            raise ValueError(
                f"a recall must lie above its share of the requests (chance) and at most 1, got {recall} of {share}"
            )
    truth, sequence = workload.output_tokens, workload.requests.sequence
    error, chance, another = normal(seed, sequence, 21), uniform(seed, sequence, 22), uniform(seed, sequence, 23)
    found: list[tuple[float, float, float, FloatArray]] = []
    for guessed in _GUESSED if guesses else (0.0,):
        rows = np.flatnonzero(chance < guessed)
        seen = truth.astype(np.float64)
        seen[rows] = truth[rows[np.argsort(another[rows], kind="stable")]]
        for sigma in _SIGMAS:
            point = seen * np.exp(sigma * error)
            missed = sum((tail_recall(point, truth, share) - recall) ** 2 for share, recall in recalls.items())
            found.append((missed, guessed, sigma, point))
    _, guessed, sigma, point = min(found, key=lambda entry: entry[:3])
    return Fixed(Estimates(point, f"ranker: {guessed:.0%} guessed, error {sigma:g}"))
