"""Metrics of rankings against scipy, scikit-learn and plain loops."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from sklearn.metrics import mean_pinball_loss, roc_auc_score

from makespan.ranker import metrics
from makespan.schedulers.types import BoolArray, FloatArray

quick = settings(max_examples=80, deadline=None, derandomize=True)
few = st.integers(0, 6).map(float)
wide = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))


@st.composite
def rankings(draw: st.DrawFn) -> tuple[FloatArray, FloatArray, BoolArray]:
    count = draw(st.integers(2, 40))
    score = draw(st.lists(draw(st.sampled_from([few, wide])), min_size=count, max_size=count))
    length = draw(st.lists(st.integers(1, 9) | st.integers(1, 10_000), min_size=count, max_size=count))
    capped = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    return np.array(score), np.array(length, dtype=np.float64), np.array(capped)


@quick
@given(rankings())
def test_tau_is_that_of_scipy_where_nothing_is_capped(case: tuple[FloatArray, FloatArray, BoolArray]) -> None:
    score, length, _ = case
    np.testing.assert_allclose(metrics.tau(score, length), kendalltau(score, length).statistic, atol=1e-12)


@quick
@given(rankings())
def test_tau_of_capped_lengths_counts_the_pairs_whose_order_is_known(
    case: tuple[FloatArray, FloatArray, BoolArray],
) -> None:
    score, length, capped = case
    difference = scores = lengths = 0
    for i, j in combinations(range(len(score)), 2):
        if capped[i] and capped[j]:
            continue
        longer = int(np.sign(length[i] - length[j]))
        if capped[i] != capped[j]:
            first, second = (i, j) if capped[i] else (j, i)
            if length[first] < length[second]:
                continue
            longer = 1 if first == i else -1
        higher = int(np.sign(score[i] - score[j]))
        difference, scores, lengths = difference + longer * higher, scores + (higher != 0), lengths + (longer != 0)
    expected = difference / np.sqrt(scores * lengths) if scores and lengths else np.nan
    np.testing.assert_allclose(metrics.tau(score, length, capped), expected, atol=1e-12)


@quick
@given(rankings())
def test_one_common_cap_gives_the_same_as_comparing_pair_by_pair(case: tuple[FloatArray, FloatArray, BoolArray]) -> None:
    score, length, _ = case
    cap = float(np.median(length))
    cut, capped = np.minimum(length, cap), length >= cap
    # Equal caps take the fast way; caps that differ by nothing that matters take the slow one.
    raised = np.where(capped, cut + 0.25 * np.arange(len(cut)) / len(cut), cut)
    np.testing.assert_allclose(metrics.tau(score, cut, capped), metrics.tau(score, raised, capped), atol=1e-12)


@quick
@given(rankings(), st.integers(0, 3))
def test_strata_of_one_member_compare_nothing_and_one_stratum_compares_all(
    case: tuple[FloatArray, FloatArray, BoolArray], number: int
) -> None:
    score, length, capped = case
    assert np.isnan(metrics.tau(score, length, capped, np.arange(len(score))))
    np.testing.assert_equal(
        metrics.tau(score, length, capped, np.full(len(score), number)), metrics.tau(score, length, capped)
    )


@quick
@given(rankings(), st.sampled_from((*metrics.TAILS, 0.5)))
def test_recall_is_the_expectation_over_random_breaking_of_ties(
    case: tuple[FloatArray, FloatArray, BoolArray], share: float
) -> None:
    score, length, _ = case
    rng = np.random.default_rng(0)
    k = max(1, round(share * len(length)))
    drawn, tokens = [], []
    for _ in range(400):
        shuffled = rng.permutation(len(score))
        top = shuffled[np.argsort(-score[shuffled], kind="stable")][:k]
        again = rng.permutation(len(score))
        true = again[np.argsort(-length[again], kind="stable")][:k]
        drawn.append(len(set(top.tolist()) & set(true.tolist())) / k)
        tokens.append(length[top].sum() / length[true].sum())
    assert metrics.recall(score, length, share) == pytest.approx(np.mean(drawn), abs=0.13)
    assert metrics.token_recall(score, length, share) == pytest.approx(np.mean(tokens), abs=0.13)


@quick
@given(rankings())
def test_tail_auc_is_that_of_scikit_learn_where_the_tail_is_sharp(case: tuple[FloatArray, FloatArray, BoolArray]) -> None:
    score, length, _ = case
    length = length + np.linspace(0, 0.5, len(length))
    k = max(1, round(0.1 * len(length)))
    tail = length >= np.sort(length)[-k]
    assert metrics.tail_auc(score, length) == pytest.approx(roc_auc_score(tail, score))


@quick
@given(rankings(), st.sampled_from([np.cbrt, np.arctan, lambda s: 3 * s - 7]))
def test_metrics_do_not_change_when_scores_are_transformed_monotonically(case, transform) -> None:  # type: ignore[no-untyped-def]
    score, length, capped = case
    score = np.round(score / 1e4)  # keeps distinct scores distinct after the transform
    other = transform(score)
    np.testing.assert_equal(metrics.tau(score, length, capped), metrics.tau(other, length, capped))
    np.testing.assert_equal(metrics.tail_auc(score, length), metrics.tail_auc(other, length))
    for share in metrics.TAILS:
        assert metrics.recall(score, length, share) == metrics.recall(other, length, share)
        assert metrics.token_recall(score, length, share) == metrics.token_recall(other, length, share)


@quick
@given(rankings())
def test_the_truth_scores_best_and_its_reverse_worst(case: tuple[FloatArray, FloatArray, BoolArray]) -> None:
    _, length, _ = case
    length = length + np.linspace(0, 0.5, len(length))
    assert metrics.tau(length, length) == pytest.approx(1) == -metrics.tau(-length, length)
    for share in metrics.TAILS:
        assert metrics.recall(length, length, share) == metrics.token_recall(length, length, share) == 1


@quick
@given(rankings(), st.lists(st.floats(0.05, 0.95), min_size=1, max_size=3, unique=True).map(sorted))
def test_pinball_loss_is_that_of_scikit_learn(case: tuple[FloatArray, FloatArray, BoolArray], levels: list[float]) -> None:
    score, length, _ = case
    predicted = np.stack([score + level for level in levels], axis=1)
    each = [mean_pinball_loss(length, predicted[:, k], alpha=level) for k, level in enumerate(levels)]
    assert metrics.pinball(predicted, length, tuple(levels)) == pytest.approx(np.mean(each))


def test_coverage_counts_both_ends() -> None:
    low, high = np.array([1.0, 1.0, 1.0]), np.array([2.0, 2.0, 2.0])
    assert metrics.coverage(low, high, np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 3)
