"""Slices of time: the curves they rest on, the end that is foreseen, and where they pay."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from makespan.harness.experiment import simulate
from makespan.harness.measures import makespan
from makespan.harness.workload import Workload
from makespan.schedulers import sources
from makespan.schedulers.catalog import finish_together, pull
from makespan.schedulers.finish_model import list_schedule
from makespan.schedulers.foreseen_end import Slots, expected_end
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.lengths_seen import Curves, lengths_seen
from makespan.schedulers.overtake import Overtake
from makespan.schedulers.parts import HOLD
from makespan.schedulers.requests import Requests
from makespan.schedulers.slices import Standing, paying_slice
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import FINISHED, OUTSIDE, RUNNING, View

Draw = Callable[[int, int], FloatArray]
CAP = 8192
FLAT = Instance(StepTime((1,), (0.01,)), 10**8, max_batch=4)


def bimodal(count: int, seed: int) -> FloatArray:
    """Return lengths of which most are short and some end just before the cap."""
    rng = np.random.default_rng(seed)
    short, long = rng.lognormal(np.log(800), 0.5, count), rng.normal(7000, 500, count)
    return np.clip(np.where(rng.random(count) < 0.15, long, short), 1, CAP)


def pareto(count: int, seed: int) -> FloatArray:
    """Return lengths of which the longest outlasts many others together."""
    return np.clip(60 * np.random.default_rng(seed).random(count) ** (-1 / 1.3), 1, CAP)


def stage(ended: IntArray, running: IntArray, waiting: IntArray, cap: int = CAP) -> View:
    """Return a stage of which this has ended, runs and waits, by tokens."""
    generated = np.concatenate([ended, running, waiting]).astype(np.int64)
    requests = Requests.of(np.full(len(generated), 10), np.full(len(generated), cap))
    state = np.repeat([FINISHED, RUNNING, OUTSIDE], [len(ended), len(running), len(waiting)])
    view = View.at_start(Cluster.uniform(FLAT, 2), requests, sources.none(requests).estimate(requests))
    where = np.where(state == OUTSIDE, -1, np.arange(len(generated)) % 2)
    return replace(view, generated=generated, state=state, ended=state == FINISHED, instance=where)


samples = st.lists(st.integers(1, CAP), min_size=1, max_size=60)


@given(ended=samples, running=samples)
@example(ended=[CAP], running=[1])
@settings(deadline=None)
def test_curves_fall_from_one_and_part_only_where_little_was_seen(ended: list[int], running: list[int]) -> None:
    curves = lengths_seen(stage(np.array(ended), np.array(running), np.array([0])))
    assert (curves.beyond[:, 0] == 1).all()
    assert (np.diff(curves.beyond, axis=1) <= 1e-12).all()
    assert (curves.beyond >= 0).all()
    assert (curves.beyond[0] >= curves.beyond[1:] - 1e-12).all()
    assert (curves.mean_left >= 0).all()


def test_curves_are_the_empirical_ones_where_all_have_ended() -> None:
    ended = bimodal(4000, 1).astype(np.int64)
    curves = lengths_seen(stage(ended, np.array([0]), np.array([0])))
    for way in curves.beyond:
        np.testing.assert_allclose(way[:-1], [(ended > x).mean() for x in curves.tokens[:-1]], atol=0.01)


@given(seed=st.integers(0, 99))
@settings(deadline=None)
def test_curves_do_not_depend_on_the_order_of_requests(seed: int) -> None:
    view = stage(pareto(50, 2).astype(np.int64), np.arange(1, 90, 7), np.zeros(9, dtype=np.int64))
    turn = np.random.default_rng(seed).permutation(len(view.requests))
    turned = replace(view, requests=view.requests.take(turn), generated=view.generated[turn], ended=view.ended[turn])
    assert (lengths_seen(turned).beyond == lengths_seen(view).beyond).all()


def known(lengths: FloatArray) -> Curves:
    """Return the curve of many lengths, on the grid that is used."""
    tokens = lengths_seen(stage(np.array([9]), np.array([5]), np.array([0]))).tokens
    return Curves(tokens, np.array([[float((lengths > x).mean()) for x in tokens[:-1]] + [float((lengths >= CAP).mean())]]))


@pytest.mark.parametrize("draw", [bimodal, pareto])
@pytest.mark.parametrize(("count", "slots"), [(64, 64), (256, 64), (256, 16)])
def test_the_end_that_is_foreseen_is_the_mean_over_draws(draw: Draw, count: int, slots: int) -> None:
    curves = known(draw(100_000, 0))
    first, later = np.zeros((2, 1, 1, len(curves.tokens)))
    first[..., 0], later[..., 0] = slots, count - slots
    foreseen = expected_end(curves, Slots(slots, 1, np.append(0.0, np.ones(slots))), first, later)
    drawn = np.mean([list_schedule(draw(count, 1 + k), slots)[1].max() for k in range(100)])
    assert foreseen == pytest.approx(drawn, rel=0.1)


def standing(curves: Curves, slots: int, count: int) -> Standing:
    """Return a stage in its middle: what runs has been drawn by chance, and the rest is fresh."""
    running = curves.counts(np.linspace(0, 2 * curves.area[0, -1], slots).astype(np.int64))
    waiting = curves.counts(np.zeros(count - slots, dtype=np.int64))
    return Standing(curves, Slots(slots, 8, np.linspace(0.0, 0.01, slots // 8 + 1)), running, waiting, 0 * running)


def test_slices_pay_where_lengths_end_at_a_bound_and_not_where_one_outlasts_the_others() -> None:
    assert paying_slice(standing(known(bimodal(100_000, 0)), 16, 128), 0.01) > 1000
    assert paying_slice(standing(known(pareto(100_000, 0)), 16, 128), 0.01) == 0


def test_computing_kv_anew_can_cost_more_than_slices_bring() -> None:
    free = standing(known(bimodal(100_000, 0)), 16, 128)
    assert paying_slice(replace(free, again=free.again + 1e4), 0.01) == 0


def test_what_had_its_slice_gives_its_slot_to_what_has_had_none() -> None:
    ended = bimodal(64, 3).astype(np.int64)
    running = np.array([5000, 5000, 100, 150, 200, 250, 300, 350])
    view = stage(ended, running, np.zeros(24, dtype=np.int64))
    moves = Overtake().move(view)
    assert view.generated[moves.rows].tolist() == [5000, 5000]
    assert (moves.instances == HOLD).all()
    told = replace(view, estimates=sources.oracle(np.maximum(view.generated, 1)).estimate(view.requests))
    assert not len(Overtake().move(told).rows)


def end(lengths: FloatArray, policy: object) -> float:
    requests = Requests.of(np.full(len(lengths), 10), np.full(len(lengths), CAP))
    workload = Workload("drawn", requests, lengths.astype(np.int64), "numpy")
    run = simulate(workload, Cluster.uniform(FLAT, 4), policy, sources.none(requests))  # type: ignore[arg-type]
    return makespan(run.timeline)


@pytest.mark.parametrize(("draw", "least", "most"), [(bimodal, 0.0, 0.95), (pareto, 0.98, 1.01)])
def test_a_stage_ends_sooner_by_slices_on_bounded_lengths_and_no_later_on_heavy_tails(
    draw: Draw,
    least: float,
    most: float,
) -> None:
    ours = [end(draw(160, seed), finish_together) for seed in range(5)]
    plain = [end(draw(160, seed), pull) for seed in range(5)]
    assert least <= sum(ours) / sum(plain) <= most
