"""Allocation of GPUs to generation and training, against brute force."""

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.schedulers.allocation import Budget, Split, algorithm_1, algorithm_1_two_sites, allocate, frontier
from makespan.schedulers.stage_profile import StagePoint, StageProfile
from makespan.schedulers.types import FloatArray, IntArray


class Curve:
    """Seconds on 0, 1, 2 … GPUs."""

    def __init__(self, seconds: list[float]) -> None:
        self.column = np.array([np.inf, *seconds])

    def __call__(self, gpus: IntArray) -> FloatArray:
        seconds: FloatArray = self.column[np.minimum(gpus, len(self.column) - 1)]
        return seconds


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    values = draw(st.lists(st.floats(0.5, 50) | st.sampled_from([1.0, 2.0, 4.0]), min_size=1, max_size=12))
    too_small = draw(st.integers(0, 3))
    return Curve([np.inf] * too_small + sorted(values, reverse=True))


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    granularity = draw(st.integers(1, 3))
    prices = st.sampled_from([0.0, 0.35, 1.0, 2.85])
    limit = st.integers(granularity, 14)
    if draw(st.booleans()):
        total, generation, training = draw(st.integers(2 * granularity, 14)), None, None
    else:
        total, generation, training = None, draw(limit), draw(limit)
    return Budget(total, generation, training, granularity, draw(prices), draw(prices))


def every_split(generation: Curve, training: Curve, budget: Budget) -> list[Split]:
    """Return all splits, the slow way."""
    step, found = budget.granularity, []
    most = budget.total or max(budget.generation or 0, budget.training or 0)
    for x, y in product(range(step, most + 1, step), repeat=2):
        if budget.total is not None and x + y > budget.total:
            continue
        if x > (budget.generation or x) or y > (budget.training or y):
            continue
        a, b = float(generation(np.array([x]))[0]), float(training(np.array([y]))[0])
        if np.isfinite(a) and np.isfinite(b):
            price = x * budget.generation_price + y * budget.training_price
            found.append(Split(x, y, a, b, price))
    return found


@given(generation=curves(), training=curves(), budget=budgets())
def test_the_frontier_is_what_trying_every_split_gives(generation: Curve, training: Curve, budget: Budget) -> None:
    every = every_split(generation, training, budget)
    if not every:
        with pytest.raises(ValueError, match="both stages at once"):
            frontier(generation, training, budget)
        return
    found = frontier(generation, training, budget)
    pareto = {
        (s.seconds, s.cost)
        for s in every
        if not any((o.seconds, o.cost) != (s.seconds, s.cost) and o.seconds <= s.seconds and o.cost <= s.cost for o in every)
    }
    assert [(s.seconds, s.cost) for s in found] == sorted(pareto)
    assert set(found) <= set(every)


@given(generation=curves(), training=curves(), budget=budgets(), cap=st.floats(0, 500))
def test_the_answer_is_the_best_of_every_split(generation: Curve, training: Curve, budget: Budget, cap: float) -> None:
    every = every_split(generation, training, budget)
    if not every:
        return
    assert allocate(generation, training, budget).seconds == min(s.seconds for s in every)
    assert allocate(generation, training, budget, "cost").cost == min(s.cost for s in every)
    affordable = [s for s in every if s.cost <= cap]
    if affordable:
        assert allocate(generation, training, budget, "time", cap).seconds == min(s.seconds for s in affordable)
    else:
        with pytest.raises(ValueError, match="the cost cap must be at least"):
            allocate(generation, training, budget, "time", cap)


@given(generation=curves(), training=curves(), budget=st.integers(2, 20))
def test_algorithm_1_is_as_fast_as_the_frontier(generation: Curve, training: Curve, budget: int) -> None:
    if not every_split(generation, training, Budget(budget)):
        with pytest.raises(ValueError, match="both stages at once"):
            algorithm_1(generation, training, budget)
        return
    x, y = algorithm_1(generation, training, budget)
    assert x + y <= budget
    slower = max(generation(np.array([x]))[0], training(np.array([y]))[0])
    assert slower == allocate(generation, training, Budget(budget)).seconds


@given(generation=curves(), training=curves(), budget=st.integers(2, 20))
def test_more_budget_is_never_slower(generation: Curve, training: Curve, budget: int) -> None:
    if every_split(generation, training, Budget(budget)):
        less = allocate(generation, training, Budget(budget)).seconds
        assert allocate(generation, training, Budget(budget + 1)).seconds <= less


@given(generation=curves(), training=curves(), x=st.integers(1, 14), y=st.integers(1, 14))
def test_for_two_sites_the_faster_stage_gives_back_what_it_does_not_need(
    generation: Curve, training: Curve, x: int, y: int
) -> None:
    full = generation(np.array([x]))[0], training(np.array([y]))[0]
    if not np.isfinite(full).all():
        with pytest.raises(ValueError, match="must fit its budget"):
            algorithm_1_two_sites(generation, training, x, y)
        return
    a, b = algorithm_1_two_sites(generation, training, x, y)
    if full[0] < full[1]:
        gaps = np.abs(generation(np.arange(1, x + 1)) - full[1])
        assert b == y
        assert gaps[a - 1] == gaps.min()
    else:
        gaps = np.abs(training(np.arange(1, y + 1)) - full[0])
        assert a == x
        assert gaps[b - 1] == gaps.min()


@given(generation=curves(), training=curves())
def test_swapping_the_stages_swaps_the_split(generation: Curve, training: Curve) -> None:
    budget, mirrored = Budget(None, 9, 7, 1, 1.0, 2.85), Budget(None, 7, 9, 1, 2.85, 1.0)
    if every_split(generation, training, budget):
        here, there = frontier(generation, training, budget), frontier(training, generation, mirrored)
        assert [(s.generation_gpus, s.training_gpus) for s in here] == [(s.training_gpus, s.generation_gpus) for s in there]


def test_ten_thousand_gpus_take_less_than_a_second() -> None:
    gpus = [8, 64, 512, 4096, 10_000]
    generation = StageProfile.of(gpus, [400, 220, 180, 160, 155])
    training = StageProfile.of(gpus, [9000, 1100, 150, 22, 10])
    started = time.process_time()
    splits = frontier(generation.seconds, training.seconds, Budget(10_000))
    assert time.process_time() - started < 5
    assert splits[0].generation_gpus + splits[0].training_gpus <= 10_000
    x, y = algorithm_1(generation.seconds, training.seconds, 10_000)
    assert max(generation.at(x), training.at(y)) == splits[0].seconds


@given(
    points=st.dictionaries(st.integers(1, 500), st.floats(0.1, 1e4), min_size=1, max_size=8),
    gpus=st.lists(st.integers(1, 600), min_size=2, max_size=20),
)
def test_a_profile_never_slows_down_and_passes_through_its_fastest_points(points: dict[int, float], gpus: list[int]) -> None:
    profile = StageProfile(tuple(StagePoint(g, 1024, s) for g, s in points.items()))
    ordered = np.unique(gpus)
    seconds = profile.seconds(ordered, 1024)
    later = np.where(np.isinf(seconds), np.finfo(float).max, seconds)
    assert (np.diff(later) <= 1e-9 * later[:-1]).all()
    best = np.inf
    for g in sorted(points):
        best = min(best, points[g])
        assert profile.at(g, 1024) == pytest.approx(best)
    assert np.isinf(profile.seconds(ordered[ordered < min(points)], 1024)).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Budget(), "a budget must be a total, or a limit for each"),
        (lambda: Budget(0), r"the total budget must be at least 2 GPUs \(2 x 1\), got 0"),
        (lambda: Budget(None, 0, 4), "the generation budget must be at least 1 GPUs"),
        (lambda: Budget(8, granularity=8), r"at least 16 GPUs \(2 x 8\), got 8"),
        (lambda: Budget(8, granularity=0), "granularity of a budget must be at least 1"),
        (lambda: Budget(8, generation_price=-1), "a price must not be negative, got -1"),
        (lambda: StageProfile(()), "needs at least one point"),
        (lambda: StagePoint(1, 1, 0.0), "positive and finite time"),
        (lambda: StageProfile.of([8, 8], [1, 2]), "got a repeated point"),
        (lambda: StageProfile.of([8], [1], 256).seconds([8], 1024), "must hold the batch size 1024, got only 256"),
    ],
)
def test_impossible_budgets_and_profiles_are_refused(build, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        build()


def test_a_curve_that_slows_down_is_refused() -> None:
    with pytest.raises(ValueError, match="never take longer on more GPUs"):
        frontier(Curve([1.0, 2.0]), Curve([1.0]), Budget(4))
