"""Seer's placement of chunks, and preemption by priority, on worked examples."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from views import view_of

from makespan.harness.experiment import simulate
from makespan.harness.generators import lognormal
from makespan.schedulers import catalog
from makespan.schedulers.chunk_pull import ChunkPull
from makespan.schedulers.comes_back import ComesBack
from makespan.schedulers.home_unless_skewed import HomeUnlessSkewed
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.orders import LongestWholeFirst, ShortestWholeFirst
from makespan.schedulers.parts import HOLD
from makespan.schedulers.placements import LeastTokens, RoundRobin
from makespan.schedulers.policy import Policy
from makespan.schedulers.preempt_lower import PreemptLower
from makespan.schedulers.pull import Pull
from makespan.schedulers.sources import Siblings
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.view import OUTSIDE, QUEUED, RUNNING


def cluster(blocks: int, count: int = 2, max_batch: int = 4) -> Cluster:
    return Cluster.uniform(Instance(StepTime((1,), (0.01,)), 16 * blocks, max_batch=max_batch), count)


def test_a_chunk_goes_to_the_most_free_kv_and_what_others_will_hold_is_not_free() -> None:
    # Chunks of 64 tokens are 4 blocks, prompts 1. On instance 0 a request is in its second chunk: 9 blocks of 20 at its end.
    view = view_of(
        [1] * 5,
        prompts=16,
        cluster=cluster(20),
        instance=[0, -1, -1, -1, -1],
        state=[RUNNING] + [OUTSIDE] * 4,
        generated=[70, 0, 64, 128, 0],
    )
    # Needs: 5, 9, 13, 5 blocks; free: 11 and 20.
    assert ChunkPull(64).place(view, np.array([1, 2, 3, 4])).tolist() == [1, 1], (
        "15 and 6 left, 13 do not fit, 5 wait behind"
    )
    assert ChunkPull(64).place(view, np.array([1, 2, 4])).tolist() == [1, 1, 0]


def test_a_chunk_beyond_the_cap_is_as_short_as_the_cap() -> None:
    view = view_of([1] * 2, prompts=16, cap=20, cluster=cluster(6, count=1))
    assert ChunkPull(1000).place(view, np.arange(2)).tolist() == [0, 0]


def test_a_request_that_no_instance_holds_to_the_end_of_a_chunk_is_let_in_alone() -> None:
    view = view_of([1] * 2, prompts=16, cluster=cluster(6, count=1))
    assert ChunkPull(1000).place(view, np.arange(2)).tolist() == [0]


@given(data=st.data(), chunk=st.integers(1, 64))
@settings(max_examples=200)
def test_no_chunk_that_is_placed_can_overflow_the_kv(data: st.DataObject, chunk: int) -> None:
    count = data.draw(st.integers(1, 10))
    where = np.array(data.draw(st.lists(st.integers(-1, 1), min_size=count, max_size=count)))
    started = np.array(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))) * chunk
    inside = np.array(data.draw(st.lists(st.integers(0, chunk - 1), min_size=count, max_size=count)))
    view = view_of(
        np.ones(count),
        prompts=16,
        cap=200,
        cluster=cluster(30, max_batch=6),
        instance=where,
        state=np.where(where >= 0, RUNNING, OUTSIDE),
        generated=started + np.where(where >= 0, inside, 0),
    )
    rows = np.flatnonzero(where < 0)
    chosen = ChunkPull(chunk).place(view, rows)
    ends = -(-(16 + np.minimum(started + chunk, 200)) // 16)
    for i in range(2):
        before, new = np.flatnonzero(where == i), rows[: len(chosen)][chosen == i]
        together = int(ends[before].sum() + ends[new].sum())
        assert not len(new) or together <= 30 or len(before) + len(new) == 1
        assert not len(new) or len(before) + len(new) <= 6


@pytest.mark.parametrize("policy", [catalog.seer, catalog.divided])
def test_divided_rollout_preempts_nothing_where_kv_binds(policy: Policy) -> None:
    workload = lognormal(1.0)(None, 256, 0)
    most = int((workload.requests.prompt_tokens + workload.requests.max_new_tokens).max())
    tight = Cluster.uniform(Instance(StepTime((1,), (0.01,)), most, max_batch=64), 2)

    def preemptions(policy: Policy) -> int:
        timeline = simulate(workload, tight, policy, Siblings(workload.requests)).timeline
        assert timeline.finished.all()
        return int(timeline.preemptions.sum())

    chunk = 512
    divided = replace(policy, placement=ChunkPull(chunk), chunk_tokens=chunk)
    assert preemptions(divided) == 0
    assert preemptions(catalog.least_in_flight) > 0


def test_the_longest_that_waits_interrupts_the_shortest_that_runs() -> None:
    # Four run on a full instance; of three that wait for it two are longer than somebody.
    lengths = [50, 900, 20, 300, 400, 10, 40]
    view = view_of(lengths, cluster=cluster(900, count=1), instance=0, state=[RUNNING] * 4 + [QUEUED] * 3)
    moves = PreemptLower(LongestWholeFirst()).move(view)
    # Pairs: 400 with 20, and 40 with 50, who stays.
    assert (moves.rows.tolist(), moves.instances.tolist()) == ([2], [HOLD])


def test_what_waits_with_the_dispatcher_takes_a_place_anywhere_and_what_is_placed_only_there() -> None:
    lengths = [10, 20, 30, 40, 5]
    view = view_of(
        lengths,
        cluster=cluster(900, count=2, max_batch=1),
        instance=[0, 1, 1, -1, 0],
        state=[RUNNING, RUNNING, OUTSIDE, OUTSIDE, OUTSIDE],
    )
    moves = PreemptLower(LongestWholeFirst()).move(view)
    assert sorted(moves.rows.tolist()) == [0, 1]
    only_there = view_of(lengths[:3], cluster=view.cluster, instance=[0, 1, 1], state=[RUNNING, RUNNING, OUTSIDE])
    assert PreemptLower(LongestWholeFirst()).move(only_there).rows.tolist() == [1]
    assert PreemptLower(ShortestWholeFirst()).move(only_there).rows.tolist() == []


def test_nobody_is_preempted_for_what_finds_a_free_slot_or_is_no_better() -> None:
    view = view_of([10, 900], cluster=cluster(900, count=1), instance=0, state=[RUNNING, QUEUED])
    assert not len(PreemptLower(LongestWholeFirst()).move(view).rows)
    equal = view_of([7, 7], cluster=cluster(900, count=1, max_batch=1), instance=0, state=[RUNNING, QUEUED])
    assert not len(PreemptLower(LongestWholeFirst()).move(equal).rows)


def test_what_has_run_is_placed_by_the_second_part_and_what_has_not_by_the_first() -> None:
    # First parts in turn: instances 0 and 1; the second part finds instance 1 with less outstanding.
    view = view_of(
        [90, 500, 90, 90], instance=[-1, 0, -1, -1], state=[OUTSIDE, RUNNING] + [OUTSIDE] * 2, generated=[0, 1, 9, 0]
    )
    part = ComesBack(RoundRobin(), LeastTokens())
    assert part.place(view, np.array([2, 0, 3])).tolist() == [1, 0, 1]
    assert ComesBack(Pull(), ChunkPull(64)).place(view_of([1] * 9, cluster=cluster(900, 1)), np.arange(9)).tolist() == [
        *[0] * 4,
        *[HOLD] * 5,
    ]


def test_what_comes_back_goes_home_unless_its_home_has_far_more_to_do_than_the_mean() -> None:
    lengths, state = [900, 300, 50, 50, 50], [RUNNING, RUNNING] + [OUTSIDE] * 3
    view = view_of(lengths, instance=[0, 1, -1, -1, -1], state=state, generated=[0, 0, 10, 10, 0])
    view = replace(view, last_instance=np.array([0, 1, 0, 1, -1]))
    rows = np.array([2, 3, 4])
    # 900 tokens are 1.5 times the mean of 600.
    assert HomeUnlessSkewed(1.6).place(view, rows).tolist() == [0, 1, 1]
    assert HomeUnlessSkewed(1.25).place(view, rows).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=r"skew of loads must be at least 1, got 0\.9"):
        HomeUnlessSkewed(0.9)


def test_a_request_that_has_outgrown_what_is_believed_is_as_long_as_it_is() -> None:
    view = view_of([50, 400], cluster=cluster(900, 1, 1), instance=0, state=[RUNNING, QUEUED], generated=[450, 0])
    assert not len(PreemptLower(LongestWholeFirst()).move(view).rows)
    assert len(
        PreemptLower(LongestWholeFirst())
        .move(view_of([50, 400], cluster=view.cluster, instance=0, state=[RUNNING, QUEUED]))
        .rows
    )


def test_a_chunk_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a chunk must be at least 1 token, got 0"):
        ChunkPull(0)
