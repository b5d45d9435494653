"""RLHFuse's consolidation, Laminar's repack and RhymeRL's tail rebalance on worked examples and in a stage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from views import FLAT, RISING, view_of

from makespan.harness.experiment import simulate
from makespan.harness.generators import lognormal
from makespan.schedulers.best_fit_repack import BestFitRepack
from makespan.schedulers.catalog import laminar, least_in_flight, rlhfuse
from makespan.schedulers.consolidate_tail import ConsolidateTail
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.rebalance_overdue import RebalanceOverdue
from makespan.schedulers.sources import none
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.view import FINISHED, OUTSIDE, RUNNING, View


def tail(instances: list[int], done: int, cluster: Cluster, **columns: object) -> View:
    """Return a view of running requests on these instances and of `done` that have finished."""
    where = [*instances, *([0] * done)]
    state = [RUNNING] * len(instances) + [FINISHED] * done
    return view_of(np.ones(len(where)), instance=where, state=state, cluster=cluster, **columns)  # type: ignore[arg-type]


def test_once_r_t_are_left_the_rest_goes_to_the_instances_that_have_most() -> None:
    # A flat step: 8 slots hold all. One destination for R_t = 6 of 30.
    view = tail([2, 0, 1, 1, 2, 1], 24, Cluster.uniform(FLAT, 3), cap=100)
    moves = ConsolidateTail(0.2).move(view)
    assert dict(zip(moves.rows.tolist(), moves.instances.tolist(), strict=True)) == {0: 1, 1: 1, 4: 1}
    assert not len(ConsolidateTail(0.19).move(view).rows)


@pytest.mark.parametrize(
    ("instance", "cap", "expected"),
    [
        (Instance(StepTime((1, 64), (0.01, 0.04)), 10**7, max_batch=64), 100, 2),  # 12 over 6 = BS_max at 1.25 times a step
        (Instance(StepTime((1,), (0.01,)), 16 * 40, max_batch=64), 159, 3),  # 12 * 160 over 640 tokens of KV
        (Instance(StepTime((1,), (0.01,)), 16 * 40, max_batch=4), 159, 3),
        (Instance(StepTime((1,), (0.01,)), 10**7, max_batch=2), 159, 5),
    ],
)
def test_destinations_hold_the_saturation_batch_and_the_kv_of_the_longest(
    instance: Instance, cap: int, expected: int
) -> None:
    view = tail([0] * 12, 48, Cluster.uniform(instance, 5), cap=cap)
    assert ConsolidateTail(0.2).destinations(view, 12) == expected


@given(seed=st.integers(0, 300))
def test_after_consolidation_nothing_more_moves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    view = tail(rng.integers(0, 6, 10).tolist(), 40, Cluster.uniform(RISING, 6))
    part = ConsolidateTail(0.2)
    moves = part.move(view)
    where = view.instance.copy()
    where[moves.rows] = moves.instances
    again = tail(where[:10].tolist(), 40, Cluster.uniform(RISING, 6))
    assert len(set(where[:10])) <= part.destinations(view, 10)
    assert not len(part.move(again).rows)


def test_nothing_is_consolidated_while_requests_wait_or_have_yet_to_arrive() -> None:
    cluster = Cluster.uniform(FLAT, 2)
    waiting = view_of(np.ones(10), instance=[0, 1, -1] + [0] * 7, state=[RUNNING, RUNNING, OUTSIDE] + [FINISHED] * 7)
    assert not len(ConsolidateTail(0.9).move(waiting).rows)
    late = view_of(np.ones(3), instance=[0, 1, -1], state=[RUNNING, RUNNING, OUTSIDE], arrival=[0, 0, 7], cluster=cluster)
    assert not len(ConsolidateTail(0.9).move(late).rows)


def test_the_emptiest_candidate_goes_to_the_fullest_that_holds_it() -> None:
    # Blocks in use: 60, 30, 20, 5 of 100; batches are flat. 3 (5) fits 0 (60): 65. 2 (20) fits 0: 85. 1 (30) does not.
    small = Cluster.uniform(Instance(StepTime((1,), (0.01,)), 16 * 100, max_batch=8), 4)
    view = tail([0, 1, 2, 3], 0, small, prompts=16, generated=[59 * 16, 29 * 16, 19 * 16, 4 * 16])
    moves = BestFitRepack(left=1).move(view)
    assert dict(zip(moves.rows.tolist(), moves.instances.tolist(), strict=True)) == {2: 0, 3: 0}


def test_what_has_moved_once_moves_on_with_its_new_neighbours() -> None:
    # 2 (10) joins 1 (20) because 0 has no room, and then 1 with both goes nowhere: 30 + 85 is too much.
    small = Cluster.uniform(Instance(StepTime((1,), (0.01,)), 16 * 100, max_batch=8), 3)
    view = tail([0, 1, 2], 0, small, prompts=16, generated=[94 * 16, 19 * 16, 9 * 16])
    moves = BestFitRepack(left=1).move(view)
    assert (moves.rows.tolist(), moves.instances.tolist()) == ([2], [1])


def test_the_roofline_batch_bounds_what_is_packed() -> None:
    # At most 6 run within 1.25 times the step of one.
    view = tail([0, 0, 0, 0, 1, 1, 2, 2, 2], 0, Cluster.uniform(RISING, 3))
    moves = BestFitRepack(left=1).move(view)
    assert dict(zip(moves.rows.tolist(), moves.instances.tolist(), strict=True)) == {4: 0, 5: 0}


@given(seed=st.integers(0, 300))
def test_a_repack_keeps_both_capacities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    small = Cluster.uniform(Instance(StepTime((1, 8), (0.01, 0.02)), 16 * 60, max_batch=8), 5)
    where = rng.integers(0, 5, 9)
    view = tail(where.tolist(), 0, small, prompts=16, generated=rng.integers(1, 250, 9).tolist())
    moves = BestFitRepack(rise=1.6, left=1).move(view)
    after = where.copy()
    after[moves.rows] = moves.instances
    blocks = -(-(view.requests.prompt_tokens + view.generated) // 16)
    for i in set(moves.instances.tolist()):
        assert int(blocks[after == i].sum()) <= 60
        assert int((after == i).sum()) <= 5  # the largest batch within 1.6 times 0.01 s
    emptied = set(where[moves.rows].tolist())
    assert not emptied & set(after.tolist()), "an instance gives up all it has or nothing"


def test_only_instances_that_have_given_back_half_of_their_requests_are_packed() -> None:
    where, state = [0, 0, 1, 1, 2, 2, 2], [RUNNING, FINISHED, RUNNING, FINISHED, RUNNING, RUNNING, FINISHED]
    view = view_of(np.ones(7), instance=where, state=state, cluster=Cluster.uniform(FLAT, 3), cap=100)
    assert BestFitRepack().move(view).rows.tolist() == [0]
    assert not len(BestFitRepack(left=0.4).move(view).rows)


def test_no_instance_is_packed_while_requests_wait() -> None:
    view = view_of(np.ones(3), instance=[0, 1, -1], state=[RUNNING, RUNNING, OUTSIDE])
    assert not len(BestFitRepack(left=1).move(view).rows)


def test_an_overdue_request_leaves_a_draining_instance_for_a_much_emptier_one() -> None:
    # Instance 0 has 3 of 30 left, instance 1 nothing; beliefs are 100, 100 and 400 tokens.
    where, state = [0] * 30 + [1] * 10, [RUNNING] * 3 + [FINISHED] * 37
    lengths = [100, 100, 400] + [50] * 37
    view = view_of(lengths, instance=where, state=state, generated=[151, 160, 151] + [50] * 37)
    moves = RebalanceOverdue().move(view)
    assert (moves.rows.tolist(), moves.instances.tolist()) == ([0], [1])
    assert not len(RebalanceOverdue(growth=1.7).move(view).rows)
    assert not len(RebalanceOverdue(last=0.05).move(view).rows)


def test_consolidation_and_repack_free_instances_in_a_stage_and_change_nothing_before() -> None:
    workload = lognormal(1.0)(None, 128, 1)
    cluster = Cluster.uniform(Instance(StepTime((1, 64), (0.01, 0.012)), 10**6, max_batch=16), 8)

    def last_busy(policy) -> list[float]:  # type: ignore[no-untyped-def]
        timeline = simulate(workload, cluster, policy, none(workload.requests)).timeline
        assert timeline.finished.all()
        return sorted(float(np.nanmax(timeline.ended[timeline.instance == i], initial=0.0)) for i in range(8))

    plain, fused, packed = (last_busy(p) for p in (least_in_flight, rlhfuse, laminar))
    # Half of the instances are done when, without consolidation, the first one is.
    assert fused[3] < plain[1]
    assert packed[3] < plain[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConsolidateTail(0), "must lie above 0 and not above 1, got 0"),
        (lambda: ConsolidateTail(rise=0.9), "rise of the step time must be at least 1, got 0.9"),
        (lambda: BestFitRepack(every_s=0), "seconds between two repacks must be positive, got 0"),
        (lambda: BestFitRepack(rise=0.5), "rise of the step time must be at least 1, got 0.5"),
        (lambda: BestFitRepack(left=0), "share of requests left must lie above 0 and not above 1, got 0"),
        (lambda: RebalanceOverdue(last=0), "must lie above 0 and not above 1, got 0"),
        (lambda: RebalanceOverdue(growth=0.5), "growth of an overdue request must be at least 1, got 0.5"),
    ],
)
def test_parameters_outside_their_range_are_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()
