"""What this stage alone says about its requests: Kaplan and Meier, siblings, and what has been generated so far."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ranker_cases import drawn
from scipy.stats import CensoredData, ecdf

from makespan.harness.generators import lognormal
from makespan.harness.informations import make_information
from makespan.ranker.capped_grid import CappedGrid
from makespan.ranker.lifetimes import Lifetimes, kaplan_meier
from makespan.ranker.metrics import tau
from makespan.ranker.survival import LEVELS, Survival, likely_siblings
from makespan.schedulers.estimates import Estimates, Finished, Watching
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import FloatArray, IntArray

quick = settings(max_examples=40, deadline=None, derandomize=True)
FEW = 12
"""A cap at which every length has a bin of its own."""

stages = st.integers(1, 200_000).flatmap(
    lambda cap: st.tuples(
        st.just(cap),
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, cap), st.booleans()), min_size=1, max_size=20),
    )
)
"""A cap, and of each request its group, its tokens, and whether it has finished."""


def stage(cap: int, requests: list[tuple[int, int, bool]], order: IntArray | None = None, relabel: int = 0) -> Estimates:
    """Return what is believed once the finished have finished and the others have generated what they have."""
    rows = np.arange(len(requests)) if order is None else order
    group, tokens, finished = (np.array(column)[rows] for column in zip(*requests, strict=True))
    finished = finished & (tokens > 0)
    ended = np.flatnonzero(finished)
    requests_ = Requests.of(np.ones(len(rows)), np.full(len(rows), cap), group=(group + relabel) % 5)
    source = Survival(requests_)
    source.observe(Finished(ended, tokens[ended]))
    source.watch(np.where(finished, tokens, np.minimum(tokens, cap - 1)))
    return source.estimate(requests_)


def mixture(rng: np.random.Generator, cap: int) -> tuple[CappedGrid, Lifetimes, FloatArray]:
    """Return a random distribution, and the probability of every length under it."""
    grid = CappedGrid(cap)
    mass = rng.dirichlet(np.full(len(grid), 0.3))[None]
    size = grid.after - grid.first
    return grid, Lifetimes(grid, mass), np.repeat(mass[0] / size, size)


@quick
@given(st.integers(1, 10**7))
def test_a_grid_covers_every_length_and_ends_with_its_cap(cap: int) -> None:
    grid = CappedGrid(cap)
    assert grid.first[0] == 1
    assert (grid.first[-1], grid.after[-1]) == (cap, cap + 1)
    assert (np.diff(grid.first) > 0).all()
    lengths = np.unique(np.geomspace(1, cap, 300).astype(np.int64))
    bins = grid.of(lengths)
    assert ((grid.first[bins] <= lengths) & (lengths < grid.after[bins])).all()


@quick
@given(st.lists(st.tuples(st.integers(1, FEW - 1), st.booleans()), min_size=1, max_size=30))
def test_the_estimator_is_that_of_kaplan_and_meier(seen: list[tuple[int, bool]]) -> None:
    grid = CappedGrid(FEW)
    assert len(grid) == FEW
    tokens, finished = (np.array(column) for column in zip(*seen, strict=True))
    ended = np.bincount(tokens[finished] - 1, minlength=FEW).astype(np.float64)
    at_risk = np.array([(tokens >= length).sum() for length in grid.first], dtype=np.float64)
    survival = np.cumprod(1 - kaplan_meier(ended, at_risk))
    if not finished.any():
        np.testing.assert_array_equal(survival, 1)
        return
    reference = ecdf(CensoredData(uncensored=tokens[finished], right=tokens[~finished])).sf
    np.testing.assert_allclose(survival, reference.evaluate(grid.first), atol=1e-12)


def test_a_prior_counts_as_so_many_more_requests() -> None:
    ended, at_risk = np.array([2.0, 0.0, 1.0]), np.array([5.0, 3.0, 1.0])
    # Four more of which three end in the first bin.
    merged = kaplan_meier(ended + np.array([3, 0, 0]), at_risk + np.array([4, 0, 0]))
    assert kaplan_meier(ended, at_risk, np.array([0.75, 0, 0]), np.array([4.0, 0, 0])) == pytest.approx(merged)


@quick
@given(st.integers(2, 400), st.integers(0, 2**32), st.data())
def test_what_is_expected_is_the_mean_of_the_lengths_that_are_left(cap: int, seed: int, data: st.DataObject) -> None:
    _, lifetimes, chance = mixture(np.random.default_rng(seed), cap)
    generated = data.draw(st.integers(0, cap - 1))
    own_cap = data.draw(st.integers(generated + 1, cap))
    lengths = np.arange(1, cap + 1)
    left = np.where(lengths > generated, chance, 0.0)
    if left.sum() < 1e-9:
        return
    found = lifetimes.expected(np.array([0]), np.array([generated]), cap)[0]
    assert found == pytest.approx(left @ lengths / left.sum(), rel=1e-6)
    cut = lifetimes.expected(np.array([0]), np.array([generated]), own_cap)[0]
    assert generated + 1 <= cut <= own_cap
    for level in LEVELS:
        quantile = lifetimes.quantiles(np.array([0]), np.array([generated]), cap, (level,))[0, 0]
        below = left[lengths <= np.ceil(quantile)].sum() / left.sum()
        assert below >= level - 1e-6
        assert left[lengths < np.floor(quantile)].sum() / left.sum() <= level + 1e-6


@quick
@given(st.integers(3, 5000), st.integers(0, 2**32))
def test_what_has_generated_more_is_expected_to_be_longer(cap: int, seed: int) -> None:
    _, lifetimes, _ = mixture(np.random.default_rng(seed), cap)
    generated = np.unique(np.geomspace(1, cap, 50).astype(np.int64)) - 1
    which = np.zeros(len(generated), dtype=np.int64)
    means = lifetimes.expected(which, generated, cap)
    quantiles = lifetimes.quantiles(which, generated, cap, LEVELS)
    assert (means >= generated + 1).all()
    assert (quantiles >= generated[:, None] + 1).all()
    assert (np.diff(means) >= -1e-6 * cap).all()
    assert (np.diff(quantiles, axis=0) >= -1e-6 * cap).all()
    assert (np.diff(quantiles, axis=1) >= 0).all()


@quick
@given(stages)
def test_estimates_lie_between_what_was_generated_and_the_cap(case: tuple[int, list[tuple[int, int, bool]]]) -> None:
    cap, requests = case
    found = stage(cap, requests)
    assert found.quantiles is not None
    for row, (_, tokens, finished) in enumerate(requests):
        if finished and tokens:
            assert found.point[row] == tokens
            assert (found.quantiles[row] == tokens).all()
        else:
            least = min(tokens, cap - 1) + 1
            assert least <= found.point[row] <= cap
            assert least <= found.quantiles[row, 0] <= found.quantiles[row, 1] <= found.quantiles[row, 2] <= cap


@quick
@given(stages, st.integers(0, 2**32), st.integers(0, 4))
def test_relabelling_relabels_the_belief_and_changes_nothing_else(
    case: tuple[int, list[tuple[int, int, bool]]], seed: int, relabel: int
) -> None:
    cap, requests = case
    order = np.random.default_rng(seed).permutation(len(requests))
    one, other = stage(cap, requests), stage(cap, requests, order, relabel)
    np.testing.assert_array_equal(one.point[order], other.point)
    np.testing.assert_array_equal(_quantiles(one)[order], _quantiles(other))


@quick
@given(stages, st.integers(1, 100_000))
def test_a_request_that_runs_on_is_believed_to_become_longer(
    case: tuple[int, list[tuple[int, int, bool]]], more: int
) -> None:
    cap, requests = case
    later = [(g, t if f else min(t + more, cap - 1), f) for g, t, f in requests[:1]] + requests[1:]
    one, other = stage(cap, requests), stage(cap, later)
    assert other.point[0] >= one.point[0] - 1e-6 * cap


def test_a_group_is_believed_to_be_like_its_finished_siblings() -> None:
    rng = np.random.default_rng(0)
    mean = rng.normal(5, 1, 64)
    requests = [(g, int(np.exp(mean[g] + 0.35 * rng.standard_normal())) + 1, s < 2) for g in range(64) for s in range(4)]
    waiting = [(g, t if f else 0, f) for g, t, f in requests]
    found = many(waiting, 4000)
    unfinished = np.array([not f for *_, f in requests])
    assert tau(found.point[unfinished], np.array([t for _, t, f in requests if not f])) > 0.6
    inside = [_quantiles(found)[r, 0] <= t <= _quantiles(found)[r, 2] for r, (_, t, f) in enumerate(requests) if not f]
    assert 0.7 <= np.mean(inside) <= 0.97


def test_groups_count_for_less_where_siblings_are_not_alike() -> None:
    rng = np.random.default_rng(1)
    lengths = np.exp(rng.normal(5, 1, 256)).astype(int) + 1
    alike = [(g, int(lengths[4 * g] * np.exp(0.1 * rng.standard_normal())) + 1, s < 3) for g in range(64) for s in range(4)]
    unlike = [(r // 4, int(lengths[r]), r % 4 < 3) for r in range(256)]
    spread = [
        float(np.log(many([(g, t if f else 0, f) for g, t, f in each], 9000).point[3::4]).std()) for each in (alike, unlike)
    ]
    assert spread[0] > 2 * spread[1]


def test_what_still_runs_undoes_the_bias_of_early_finishers() -> None:
    rng = np.random.default_rng(2)
    lengths = np.exp(rng.normal(6, 1, 400)).astype(int) + 1
    now = 300
    requests = [(r, min(int(t), now), bool(t <= now)) for r, t in enumerate(lengths)] + [(999, 0, False)]
    found = many(requests, 20_000)
    finished = lengths[lengths <= now].mean()
    assert found.point[-1] > 2 * finished
    assert _quantiles(found)[-1, 1] == pytest.approx(np.median(lengths), rel=0.3)


def test_a_request_cut_off_at_a_cap_of_its_own_is_only_known_to_be_that_long() -> None:
    requests = Requests.of(np.ones(30), np.where(np.arange(30) < 20, 100, 1000), group=np.arange(30))
    cut, ended = Survival(requests), Survival(requests)
    cut.observe(Finished(np.arange(20), np.full(20, 100)))
    ended.observe(Finished(np.arange(20), np.full(20, 99)))
    assert (cut.estimate(requests).point[20:] > 1.5 * ended.estimate(requests).point[20:]).all()
    assert (Survival(requests).estimate(requests).point[:20] <= 100).all()


def test_the_same_estimates_are_given_until_there_is_news() -> None:
    requests = Requests.of(np.ones(1000), np.full(1000, 500))
    source = Survival(requests)
    source.watch(np.full(1000, 160))
    first = source.estimate(requests)
    assert len(np.unique(first.point)) == 1
    source.watch(np.full(1000, 161))
    source.observe(Finished(np.array([0]), np.array([170])))
    assert source.estimate(requests) is first
    source.observe(Finished(np.arange(1, 20), np.full(19, 170)))
    second = source.estimate(requests)
    assert second is not first
    source.watch(np.full(1000, 300))
    assert source.estimate(requests) is not second


def test_finished_siblings_lie_around_a_length_and_shares_are_exact() -> None:
    grid = CappedGrid(3000)
    near = likely_siblings(grid, 0.4)
    np.testing.assert_array_equal(near.sum(axis=1), 1.0)
    assert (near >= 0).all()
    middle = near[:-1] @ np.log(grid.middle)
    assert np.abs(middle - np.log(grid.middle[:-1]))[20:-15].max() < 0.1
    assert near[-1, -1] == 1


def test_it_is_an_information_source_by_name_and_knows_lengths_only_once_they_were_seen() -> None:
    workload = lognormal(1.0)(None, 64, 0)
    source = make_information("survival", workload, 0)
    assert isinstance(source, Watching)
    assert len(np.unique(source.estimate(workload.requests).point)) == 1


def test_early_lengths_of_drawn_groups_order_the_rest() -> None:
    groups, mean = drawn(100, 4, 9, cap=4000)
    first = np.arange(100) * 4
    requests = Requests.of(np.ones(400), np.full(400, 4000), group=groups.group)
    source = Survival(requests)
    source.observe(Finished(first, groups.output_tokens[first]))
    source.observe(Finished(first + 1, groups.output_tokens[first + 1]))
    assert tau(source.estimate(requests).point[first + 2], mean) > 0.6


def many(requests: list[tuple[int, int, bool]], cap: int) -> Estimates:
    """Return what is believed about a stage of any number of groups."""
    group, tokens, finished = (np.array(column) for column in zip(*requests, strict=True))
    asked = Requests.of(np.ones(len(group)), np.full(len(group), cap), group=group)
    source = Survival(asked)
    source.observe(Finished(np.flatnonzero(finished), tokens[finished]))
    source.watch(tokens)
    return source.estimate(asked)


def _quantiles(estimates: Estimates) -> NDArray[np.float64]:
    assert estimates.quantiles is not None
    return estimates.quantiles
