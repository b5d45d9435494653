"""How well scores rank lengths. Higher scores mean longer; every metric but the errors depends on their order only."""

import numpy as np
from scipy.stats import kendalltau, rankdata

from makespan.schedulers.types import BoolArray, FloatArray, IntArray

TAILS = (0.20, 0.10, 0.05)
_CHUNK = 1024


def recall(score: FloatArray, length: FloatArray, share: float) -> float:
    """Return |top true ∩ top predicted| / k with k = round(share · n), at least 1 (StreamRL, arXiv 2504.15930, Table 4).

    Ties at either edge are broken at random, and this is the expectation over that.
    """
    k = _size(len(length), share)
    return float(_in_top(score, k) @ _in_top(length, k)) / k


def token_recall(score: FloatArray, length: FloatArray, share: float) -> float:
    """Return the tokens of the predicted top over those of the true top."""
    k = _size(len(length), share)
    return float(_in_top(score, k) @ length) / float(_in_top(length, k) @ length)


def tau(score: FloatArray, length: FloatArray, capped: BoolArray | None = None, stratum: IntArray | None = None) -> float:
    """Return Kendall's tau-b, NaN where nothing can be compared.

    Parameters
    ----------
    score, length
        Shape (n,).
    capped
        Where `length` is only a lower bound. Pairs whose order is not known, because both are capped or one is capped
        below the other, do not count, as in Harrell's C. Shape (n,).
    stratum
        Only pairs within one stratum, a task or a scheduling window, are compared. Shape (n,).
    """
    cut = np.zeros(len(length), dtype=np.bool_) if capped is None else capped
    if stratum is None:
        return _tau_of(_concordance(score, length, cut))
    sums = np.zeros(3)
    for members in np.split(np.argsort(stratum, kind="stable"), np.flatnonzero(np.diff(np.sort(stratum))) + 1):
        sums += _concordance(score[members], length[members], cut[members])
    return _tau_of(sums)


def tail_auc(score: FloatArray, length: FloatArray, share: float = 0.10) -> float:
    """Return the area under the ROC curve of finding the longest `share` (TailSieve's AUC@10)."""
    k = _size(len(length), share)
    positive = _in_top(length, k)
    if k == len(length):
        return float("nan")
    # Mann and Whitney's statistic, with fractional members where lengths tie at the edge.
    ranks = rankdata(score)
    others = 1 - positive
    order = np.argsort(ranks, kind="stable")
    below = np.cumsum(others[order]) - others[order]
    edges = np.flatnonzero(np.diff(ranks[order], prepend=-1.0))
    sizes = np.diff(np.append(edges, len(ranks)))
    tied = np.repeat(np.add.reduceat(others[order], edges), sizes)
    lower = np.repeat(below[edges], sizes)
    wins = float(positive[order] @ (lower + 0.5 * (tied - others[order])))
    # A fractional member is never compared with itself.
    pairs = float(positive.sum() * others.sum() - positive @ others)
    return wins / pairs if pairs > 0 else float("nan")


def pinball(predicted: FloatArray, observed: FloatArray, levels: tuple[float, ...]) -> float:
    """Return the mean pinball loss of quantiles.

    Parameters
    ----------
    predicted
        Shape (n, len(levels)).
    observed
        Shape (n,).
    levels
        Probabilities.
    """
    excess = observed[:, None] - predicted
    share = np.array(levels)
    return float(np.maximum(share * excess, (share - 1) * excess).mean())


def coverage(low: FloatArray, high: FloatArray, observed: FloatArray) -> float:
    """Return the share of observations in their interval, ends included."""
    return float(((low <= observed) & (observed <= high)).mean())


def _size(count: int, share: float) -> int:
    return max(1, round(share * count))


def _in_top(values: FloatArray, k: int) -> FloatArray:
    """Return the probability of each value to be among the k largest when ties are broken at random."""
    edge = np.partition(values, len(values) - k)[len(values) - k]
    above, at = values > edge, values == edge
    member: FloatArray = above + at * ((k - above.sum()) / at.sum())
    return member


def _concordance(score: FloatArray, length: FloatArray, capped: BoolArray) -> FloatArray:
    """Return (concordant - discordant, pairs with unequal scores, pairs with unequal lengths), of pairs of known order."""
    if not capped.any():
        return _all_pairs(score, length)
    if length[capped].min() >= length[~capped].max(initial=0):
        # Every capped one is longer than every finished one; only pairs among the capped are unknown.
        raised = np.where(capped, np.inf, length)
        sums = _all_pairs(score, raised)
        sums[1] -= _untied(score[capped])
        return sums
    sums = np.zeros(3)
    for start in range(0, len(score), _CHUNK):
        part = slice(start, start + _CHUNK)
        longer = np.sign(length[part, None] - length[None, :])
        first, second = capped[part, None], capped[None, :]
        # One that is capped at c is longer than one that finished at l <= c.
        longer = np.where(first & ~second & (longer >= 0), 1, np.where(second & ~first & (longer <= 0), -1, longer))
        known = ~(first & second) & ~(first & ~second & (longer < 0)) & ~(second & ~first & (longer > 0))
        higher = np.sign(score[part, None] - score[None, :])
        known[np.arange(len(higher)), np.arange(start, start + len(higher))] = False
        sums += ((longer * higher)[known].sum(), (higher[known] != 0).sum(), (longer[known] != 0).sum())
    return sums / 2


def _all_pairs(score: FloatArray, length: FloatArray) -> FloatArray:
    untied = _untied(score), _untied(length)
    if min(untied) == 0:
        return np.array([0.0, *untied])
    found = float(kendalltau(rankdata(score), rankdata(length)).statistic)
    return np.array([round(found * np.sqrt(untied[0]) * np.sqrt(untied[1])), *untied])


def _untied(values: FloatArray) -> float:
    count = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float(len(values) * (len(values) - 1) - (count * (count - 1)).sum()) / 2


def _tau_of(sums: FloatArray) -> float:
    difference, scores, lengths = sums.tolist()
    if scores == 0 or lengths == 0:
        return float("nan")
    return float(difference / np.sqrt(scores) / np.sqrt(lengths))
