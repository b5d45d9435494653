"""Past-Future admission and the admissions that reserve KV, each against the KV of a simulated future."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from views import view_of

from makespan.harness.experiment import simulate
from makespan.harness.generators import lognormal
from makespan.schedulers.catalog import least_in_flight, past_future_conservative
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.kv_reserves import ReserveNextStep, ReserveOutput
from makespan.schedulers.past_future import PastFuture, peak_tokens
from makespan.schedulers.sources import none
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.view import FINISHED, OUTSIDE, QUEUED, RUNNING, View

sizes = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), max_size=12)


def peak_step_by_step(used: list[int], remaining: list[int]) -> int:
    """Let every request grow by a token a step and leave when it has none left; return the most that is held."""
    most, step = 0, 0
    while step <= max(remaining, default=0):
        most = max(most, sum(u + step for u, r in zip(used, remaining, strict=True) if r >= step))
        step += 1
    return most


@given(requests=sizes)
@settings(max_examples=300)
def test_the_peak_is_that_of_growing_step_by_step(requests: list[tuple[int, int]]) -> None:
    used, remaining = [u for u, _ in requests], [r for _, r in requests]
    assert peak_tokens(np.array(used, dtype=np.int64), np.array(remaining, dtype=np.int64)) == peak_step_by_step(
        used, remaining
    )


def tight(blocks: int, max_batch: int = 8) -> Cluster:
    return Cluster.uniform(Instance(StepTime((1,), (0.01,)), 16 * blocks, max_batch=max_batch), 1)


@given(data=st.data(), blocks=st.integers(4, 60))
@settings(max_examples=200, deadline=None)
def test_it_admits_the_longest_prefix_whose_peak_fits(data: st.DataObject, blocks: int) -> None:
    count = data.draw(st.integers(1, 12))
    running = data.draw(st.integers(0, min(count, 4)))
    numbers = st.lists(st.integers(1, 80), min_size=count, max_size=count)
    lengths, generated = np.array(data.draw(numbers)), np.array(data.draw(numbers))
    state = np.where(np.arange(count) < running, RUNNING, OUTSIDE)
    view = view_of(
        lengths,
        cluster=tight(blocks),
        prompts=data.draw(numbers),
        state=state,
        instance=0,
        generated=np.where(state == RUNNING, generated, 0),
    )
    part = PastFuture("estimate")
    rows = np.arange(running, count)
    admitted = part.admit(view, 0, rows)

    def fits(n: int) -> bool:
        rows = np.arange(running + n)
        predicted = np.maximum(np.ceil(np.maximum(lengths, 1.1 * view.generated)) - view.generated - 1, 0)[rows] + 6
        used = (view.requests.prompt_tokens + view.generated + 16)[rows]
        return running + n <= 8 and peak_step_by_step(used.tolist(), predicted.astype(int).tolist()) <= 16 * blocks

    expected = max((n for n in range(count - running + 1) if all(fits(m) for m in range(1, n + 1))), default=0)
    assert admitted == (expected if running else max(expected, min(1, len(rows))))


def test_a_draw_from_the_past_is_longer_than_what_has_been_generated_and_the_cap_where_nothing_was() -> None:
    view = view_of(
        [1] * 6,
        cap=500,
        state=[FINISHED, FINISHED, FINISHED, RUNNING, RUNNING, OUTSIDE],
        instance=[0, 0, 1, 0, 0, 0],
        generated=[10, 20, 300, 25, 300, 0],
    )
    drawn = PastFuture()._drawn(view, np.arange(3, 6))
    assert drawn[0] == 300
    assert drawn[1] == 500
    assert drawn[2] in (10, 20, 300)


def test_draws_follow_the_past() -> None:
    count = 4000
    state = np.where(np.arange(count) < 100, FINISHED, OUTSIDE)
    past = np.where(np.arange(count) < 100, np.arange(count) + 1, 0)
    drawn = PastFuture()._drawn(view_of(np.ones(count), state=state, generated=past), np.arange(100, count))
    assert abs(float(np.mean(drawn)) - 50.5) < 2
    assert drawn.min() == 1
    assert drawn.max() == 100


def test_the_conservative_admits_fewer_than_the_estimate_and_that_fewer_than_the_aggressive() -> None:
    view = view_of([40] * 8, cap=200, cluster=tight(30), instance=0)
    admitted = [PastFuture(p).admit(view, 0, np.arange(8)) for p in ("cap", "estimate", "now")]
    # 480 tokens; a request holds 17 at the start and at its end 222, 62 or 17.
    assert admitted == [2, 7, 8]


def test_where_the_cap_is_reserved_nothing_is_preempted_and_without_it_much_is() -> None:
    workload = lognormal(1.0)(None, 256, 0)
    most = int((workload.requests.prompt_tokens + workload.requests.max_new_tokens).max())
    cluster = Cluster.uniform(Instance(StepTime((1,), (0.01,)), most, max_batch=64), 2)
    preemptions = {
        name: int(simulate(workload, cluster, policy, none(workload.requests)).timeline.preemptions.sum())
        for name, policy in (("cap", past_future_conservative), ("vllm", least_in_flight))
    }
    assert preemptions["cap"] == 0
    assert preemptions["vllm"] > 0


@pytest.mark.parametrize("part", [PastFuture(), PastFuture("cap"), ReserveOutput(), ReserveNextStep()])
def test_an_empty_instance_admits_one_request_whatever_is_predicted(part: PastFuture | ReserveOutput) -> None:
    view = view_of([5000, 5000], cluster=tight(4), prompts=40, cap=20_000, instance=0)
    assert part.admit(view, 0, np.arange(2)) == 1
    assert part.admit(view, 0, np.arange(0)) == 0


@pytest.mark.parametrize("part", [PastFuture("now"), ReserveOutput(), ReserveNextStep()])
def test_no_more_are_admitted_than_there_are_slots(part: PastFuture | ReserveOutput) -> None:
    view = view_of([1] * 6, cluster=tight(1000, max_batch=4), state=[RUNNING, QUEUED] + [OUTSIDE] * 4, instance=0)
    assert part.admit(view, 0, np.arange(2, 6)) == 2


def test_the_whole_of_every_request_is_reserved() -> None:
    # 10 blocks; the running request will hold 16 + 48 tokens, 4 blocks. The others need 2 and 5.
    view = view_of([48, 16, 64], cluster=tight(10), prompts=16, state=[RUNNING, OUTSIDE, OUTSIDE], instance=0, generated=0)
    assert ReserveOutput().admit(view, 0, np.array([1, 2])) == 1
    assert ReserveOutput().admit(view, 0, np.array([2, 1])) == 1
    # A running request that has outgrown its estimate is counted as it is, and one token.
    state, generated = [RUNNING, OUTSIDE, OUTSIDE], [112, 0, 0]
    grown = view_of([1, 16, 64], cluster=tight(10), prompts=16, state=state, instance=0, generated=generated)
    assert ReserveOutput().admit(grown, 0, np.array([1, 2])) == 0


def test_the_blocks_of_the_next_step_and_a_margin_stay_free() -> None:
    # Two running requests hold 2 blocks each and one of them fills them: 10 - 4 - (1 + 2) leaves 3.
    def view(cluster: Cluster) -> View:
        state = [RUNNING, RUNNING, OUTSIDE, OUTSIDE]
        return view_of([9] * 4, cluster=cluster, prompts=[16, 16, 32, 16], state=state, instance=0, generated=[16, 10, 0, 0])

    assert ReserveNextStep().admit(view(tight(10)), 0, np.array([2, 3])) == 2
    assert ReserveNextStep().admit(view(tight(9)), 0, np.array([2, 3])) == 1
    assert ReserveNextStep(most_blocks=0).admit(view(tight(7)), 0, np.array([2, 3])) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PastFuture("sure"), "past, estimate, cap or now, got sure"),  # type: ignore[arg-type]
        (lambda: PastFuture(slack_tokens=-1), "slack tokens must not be negative, got -1"),
        (lambda: ReserveNextStep(margin_blocks=-1), "margin of blocks must not be negative, got -1"),
        (lambda: ReserveNextStep(most_blocks=-2), "kept back must not be negative, got -2"),
    ],
)
def test_parameters_outside_their_range_are_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()
