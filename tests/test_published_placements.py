"""Heddle's, TailSieve's and RhymeRL's placements against enumeration."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from views import RISING, view_of

from makespan.schedulers.contiguous_partition import ContiguousPartition, partition, seconds_per_token, stretch_seconds
from makespan.schedulers.decode_time import flat_batch, marginal_pieces, marginal_seconds
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.isolated_tail import IsolatedTail
from makespan.schedulers.ranked_shares import RankedShares
from makespan.schedulers.step_time import StepTime


def cost(lengths: list[float], curve: np.ndarray) -> float:
    """Return the longest times its seconds per token, and beyond the slots at least the share of full steps."""
    if not lengths:
        return 0.0
    slots = len(curve)
    alone = max(lengths) * float(curve[min(len(lengths), slots) - 1])
    return alone if len(lengths) <= slots else max(alone, sum(lengths) / slots * float(curve[-1]))


curves = st.lists(st.floats(0.001, 0.1), min_size=3, max_size=8).map(lambda x: np.array(sorted(x)))
full_curves = st.lists(st.floats(0.001, 0.1), min_size=6, max_size=6).map(lambda x: np.array(sorted(x)))


@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=8), curves=st.lists(curves, min_size=1, max_size=4))
@settings(max_examples=200)
def test_no_contiguous_partition_in_this_order_of_instances_is_better(lengths: list[int], curves: list[np.ndarray]) -> None:
    falling = sorted(map(float, lengths), reverse=True)
    best = min(
        max(cost(falling[a:b], c) for a, b, c in zip((0, *cuts), (*cuts, len(falling)), curves, strict=True))
        for cuts in combinations(sorted([*range(len(falling) + 1)] * (len(curves) - 1)), len(curves) - 1)
    )
    ends = partition(np.array(falling), curves).tolist()
    assert ends[-1] == len(falling)
    found = max(cost(falling[a:b], c) for a, b, c in zip((0, *ends), ends, curves, strict=False))
    assert found == pytest.approx(best, rel=1e-9)


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=6), curve=full_curves, count=st.integers(1, 3))
@settings(max_examples=100)
def test_on_equal_instances_with_enough_slots_no_assignment_at_all_is_better(
    lengths: list[int], curve: np.ndarray, count: int
) -> None:
    best = min(
        max(cost([float(x) for x, i in zip(lengths, where, strict=True) if i == k], curve) for k in range(count))
        for where in product(range(count), repeat=len(lengths))
    )
    falling = np.array(sorted(map(float, lengths), reverse=True))
    ends = partition(falling, [curve] * count).tolist()
    found = max(cost(falling[a:b].tolist(), curve) for a, b in zip((0, *ends), ends, strict=False))
    assert found == pytest.approx(best, rel=1e-9)


def test_the_curve_is_the_step_time_and_beyond_the_slots_full_steps_are_shared() -> None:
    small = Instance(StepTime((1, 4), (0.01, 0.04), 1e-5), 10**6, max_batch=4)
    curve = seconds_per_token(small, 100)
    np.testing.assert_allclose(curve, [0.011, 0.022, 0.033, 0.044])
    assert stretch_seconds(np.array([50.0, 10, 10]), curve) == pytest.approx(50 * 0.033)
    assert stretch_seconds(np.array([50.0, 10, 10, 10, 10]), curve) == pytest.approx(50 * 0.044)
    assert stretch_seconds(np.array([50.0] * 5), curve) == pytest.approx(250 / 4 * 0.044)


def test_one_request_that_is_believed_far_too_long_does_not_leave_instances_empty() -> None:
    view = view_of([10_000, *[100] * 30], cluster=Cluster.uniform(RISING, 4))
    where = ContiguousPartition().place(view, np.arange(31))
    assert np.bincount(where).tolist() == [1, 10, 10, 10]


def test_the_longest_go_where_a_token_alone_is_fastest() -> None:
    fast = Instance(StepTime((1, 64), (0.005, 0.08)), 10**7, max_batch=64, sequence=1)
    view = view_of([1000, 10, 900, 20, 30, 40], cluster=Cluster((RISING, fast)))
    where = ContiguousPartition().place(view, np.arange(6))
    assert where[0] == 1
    assert (where[[1, 3, 4, 5]] == 0).all()


def test_without_any_belief_shares_are_even() -> None:
    for part in (ContiguousPartition(), RankedShares()):
        where = part.place(view_of(np.ones(30), cluster=Cluster.uniform(RISING, 3)), np.arange(30))
        assert np.bincount(where).tolist() == [10, 10, 10]


@given(lengths=st.lists(st.integers(1, 64), min_size=1, max_size=64), limit=st.integers(1, 64))
@settings(max_examples=100)
def test_the_marginal_seconds_add_up_to_decoding_step_by_step(lengths: list[int], limit: int) -> None:
    instance = Instance(StepTime((1, 4, 64), (0.01, 0.012, 0.04)), 10**7, max_batch=64)
    table = instance.step_time.table_ps(64) / 1e12
    steps = sum(float(table[sum(x > s for x in lengths)]) for s in range(max(lengths)))
    falling = np.array(sorted(lengths, reverse=True))
    assert float((falling * marginal_seconds(instance, len(falling))).sum()) == pytest.approx(steps)


@pytest.mark.parametrize("most", [1, 3, 4, 40, 64])
def test_the_pieces_are_the_marginal_seconds(most: int) -> None:
    instance = Instance(StepTime((2, 4, 16, 64), (0.01, 0.012, 0.02, 0.04)), 10**7, max_batch=most)
    pieces, start = [], 0
    for upto, seconds in marginal_pieces(instance):
        pieces += [seconds] * (min(upto, 90) - start)
        start = min(upto, 90)
    np.testing.assert_allclose(pieces, marginal_seconds(instance, 90), atol=1e-12)


def test_beyond_the_batch_limit_a_request_takes_its_share_of_full_steps() -> None:
    instance = Instance(StepTime((1, 4), (0.01, 0.02)), 10**7, max_batch=4)
    np.testing.assert_allclose(marginal_seconds(instance, 6)[4:], 0.02 / 4)


def test_the_flat_batch_is_the_last_before_the_step_time_has_risen() -> None:
    assert flat_batch(RISING, 1.0) == 1
    assert flat_batch(RISING, 2.0) == 22  # 0.01 + 21 * 0.03 / 63
    assert flat_batch(RISING, 9.0) == 64
    with_kv = Instance(StepTime((1,), (0.01,), 1e-5), 10**7, max_batch=64)
    assert flat_batch(with_kv, 1.5, context=100) == 6  # 0.01 + b * 0.001 against 1.5 times 0.011


def test_groups_that_were_late_are_isolated_and_the_two_pools_end_together() -> None:
    # 40 groups of 2, four of them ten times longer.
    longest = np.where(np.arange(40) % 10 == 0, 4000.0, 400.0)
    view = view_of(np.repeat(longest, 2), group=np.repeat(np.arange(40), 2), cluster=Cluster.uniform(RISING, 4))
    where = IsolatedTail(excess=0.25).place(view, np.arange(80))
    late = np.repeat(longest == 4000, 2)
    assert not set(where[late]) & set(where[~late])
    assert all(len(set(where[2 * g : 2 * g + 2])) == 1 for g in range(40))

    def ends(where: np.ndarray) -> float:
        tokens = np.repeat(longest, 2)
        return max(
            float((np.sort(tokens[where == i])[::-1] * marginal_seconds(RISING, int((where == i).sum()))).sum())
            for i in range(4)
        )

    assert ends(where) < ends(np.repeat(np.arange(40) % 4, 2))


def test_where_no_group_is_believed_longer_groups_go_in_turn() -> None:
    view = view_of(np.ones(12), group=np.repeat(np.arange(6), 2), cluster=Cluster.uniform(RISING, 3))
    assert IsolatedTail().place(view, np.arange(12)).tolist() == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]


@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=9), count=st.integers(1, 3), slope=st.sampled_from([0.0, 0.5])
)
@settings(max_examples=100)
def test_no_other_cut_of_the_ranks_meets_the_line_earlier(lengths: list[int], count: int, slope: float) -> None:
    view = view_of(lengths, cluster=Cluster.uniform(RISING, count))
    where = RankedShares(slope).place(view, np.arange(len(lengths)))
    late = 1 + slope * np.linspace(0, 1, count) if count > 1 else np.array([1 + slope])

    def line(shares: list[np.ndarray]) -> float:
        seconds = [float((np.sort(s)[::-1] * marginal_seconds(RISING, len(s))).sum()) for s in shares]
        return max(s / float(w) for s, w in zip(seconds, late, strict=True))

    tokens = np.array(lengths, dtype=float)
    rising = np.sort(tokens)
    best = min(
        line([rising[a:b] for a, b in zip((0, *cuts), (*cuts, len(rising)), strict=True)])
        for cuts in combinations(sorted([*range(len(rising) + 1)] * (count - 1)), count - 1)
    )
    assert line([tokens[where == k] for k in range(count)]) == pytest.approx(best, rel=1e-6)
    for k in range(count - 1):
        here, later = tokens[where == k], tokens[where > k]
        assert not len(here) or not len(later) or here.max() <= later.min()


def test_the_other_step_of_the_pair_gives_the_long_ones_to_the_first_instances() -> None:
    view = view_of([10, 2000, 20, 1500], cluster=Cluster.uniform(RISING, 2))
    up, down = (RankedShares(0.5, descending=d).place(view, np.arange(4)) for d in (False, True))
    assert up[1] == 1
    assert (down == 1 - up).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IsolatedTail(0), "share of excess groups must be positive, got 0"),
        (lambda: RankedShares(-0.1), "slope of finish times must not be negative, got -0.1"),
    ],
)
def test_parameters_outside_their_range_are_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()
