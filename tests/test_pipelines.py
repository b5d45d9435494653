"""The five pipelines: what each must take, whatever the stages are."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makespan.runtime.generated import Generated
from makespan.runtime.iteration import PIPELINES, Iteration
from makespan.runtime.pipelines import Pipeline, simulate_pipeline
from makespan.schedulers.training_order import stage_seconds, train_dynamic, train_mini_batches
from makespan.schedulers.training_time import TrainingTime

CONSTANT = 8


@st.composite
def stages(draw: st.DrawFn, instances: int | None = None) -> Generated:
    count = draw(st.integers(1, 20))
    where = instances or draw(st.integers(1, 4))
    ready = np.array(draw(st.lists(st.floats(0.01, 50), min_size=count, max_size=count)))
    instance = np.array(draw(st.lists(st.integers(0, where - 1), min_size=count, max_size=count)))
    tokens = np.array(draw(st.lists(st.integers(1, 5000), min_size=count, max_size=count)), dtype=np.float64)
    last = np.zeros(where)
    np.maximum.at(last, instance, ready)
    return Generated(ready, instance, tokens, useful_s=last * draw(st.floats(0, 1)), tokens_wasted=draw(st.integers(0, 9)))


trainers = st.builds(
    TrainingTime,
    token_s=st.floats(1e-5, 1e-2),
    token_pair_s=st.sampled_from([0.0, 1e-7]),
    micro_batch_s=st.floats(0, 0.2),
    step_s=st.floats(0, 5),
    ranks=st.integers(1, 4),
    micro_batch_tokens=st.sampled_from([1, 2000, 20_000, 10**9]),
)
pipelines = st.builds(
    Pipeline,
    name=st.sampled_from(PIPELINES),
    mini_batches=st.integers(1, 5),
    staleness=st.integers(1, 3),
    handover=st.sampled_from(["stage", "instance"]),
)
transfers = st.floats(0, 30)


def run(
    pipeline: Pipeline, batches: list[Generated], time: TrainingTime, transfer: float, sample: float = 0.0
) -> list[Iteration]:
    return list(simulate_pipeline(pipeline, len(batches), batches.__getitem__, lambda _: time, lambda _: transfer, sample))


def total(iterations: list[Iteration]) -> float:
    return sum(i.seconds for i in iterations)


@given(pipeline=pipelines, batches=st.lists(stages(3), min_size=1, max_size=6), time=trainers, transfer=transfers)
def test_every_sample_is_trained_on_once_and_none_is_staler_than_the_bound(
    pipeline: Pipeline, batches: list[Generated], time: TrainingTime, transfer: float
) -> None:
    found = run(pipeline, batches, time, transfer)
    assert [i.iteration for i in found] == list(range(len(batches)))
    for iteration, batch in zip(found, batches, strict=True):
        assert iteration.samples == sum(iteration.staleness) == len(batch.ready_s)
        assert len(iteration.staleness) <= pipeline.ahead + 1
        assert iteration.tokens_wasted == batch.tokens_wasted


@given(batch=stages(), time=trainers, transfer=transfers)
def test_a_colocated_iteration_takes_the_sum_of_generation_training_and_transfer(
    batch: Generated, time: TrainingTime, transfer: float
) -> None:
    found = run(Pipeline("colocated"), [batch] * CONSTANT, time, transfer)
    alone = batch.seconds + stage_seconds(time, batch.tokens)
    assert found[0].seconds == pytest.approx(alone)
    assert [i.seconds for i in found[1:]] == pytest.approx([alone + transfer] * (CONSTANT - 1))


@given(batch=stages(), time=trainers, transfer=transfers)
def test_a_one_step_asynchronous_iteration_takes_the_slower_stage_and_the_transfer(
    batch: Generated, time: TrainingTime, transfer: float
) -> None:
    found = run(Pipeline("one_step_async"), [batch] * CONSTANT, time, transfer)
    slower = max(batch.seconds, stage_seconds(time, batch.tokens))
    middle = [i.seconds for i in found[2:-1]]
    assert middle == pytest.approx([slower + transfer] * len(middle))


@given(batch=stages(), time=trainers)
def test_a_fully_asynchronous_iteration_tends_to_the_slower_stage(batch: Generated, time: TrainingTime) -> None:
    iterations = 40
    found = run(Pipeline("fully_async"), [batch] * iterations, time, 0.0)
    training = stage_seconds(time, batch.tokens)
    slower = max(batch.seconds, training)
    # Streaming may cut micro-batches otherwise than all at once; that is what training can differ by.
    rest = len(batch.ready_s) * (time.micro_batch_s + time.ranks * float(time.work(batch.tokens).max()))
    assert total(found) <= batch.seconds + iterations * (slower + rest) + 1e-6
    assert total(found) >= iterations * batch.seconds * (1 - 1e-9)


@given(batch=stages(), transfer=transfers, step=st.floats(0.1, 60))
def test_a_fully_asynchronous_iteration_takes_the_longest_cycle_of_what_waits_for_what(
    batch: Generated, transfer: float, step: float
) -> None:
    # With one micro-batch the cycles are: generation after generation, training after training, transfer after transfer, and
    # batch j after the weights of iteration j - 2, which is one lap of all three in two iterations.
    time = TrainingTime(token_s=1e-9, step_s=step, micro_batch_tokens=10**9)
    generation, training = batch.seconds, stage_seconds(time, batch.tokens)
    found = run(Pipeline("fully_async"), [batch] * 61, time, transfer)
    slowest = max(generation, training, transfer, (generation + training + transfer) / 2)
    lap = generation + training + transfer
    assert total(found[20:-1]) == pytest.approx(40 * slowest, abs=lap)
    if transfer <= abs(generation - training):
        assert slowest == max(generation, training)


@given(batches=st.lists(stages(2), min_size=2, max_size=6), time=trainers, transfer=transfers)
def test_streaming_with_a_full_trainer_is_not_slower_than_waiting_for_all(
    batches: list[Generated], time: TrainingTime, transfer: float
) -> None:
    # One micro-batch a sample: then starting early can only help.
    fine = replace(time, micro_batch_tokens=1)
    stream = run(Pipeline("stream"), batches, fine, transfer)
    whole = run(Pipeline("sync", mini_batches=1), batches, fine, transfer)
    assert total(stream) <= total(whole) + 1e-6


@given(batches=st.lists(stages(2), min_size=2, max_size=6), time=trainers, transfer=transfers, more=st.floats(0, 30))
def test_a_slower_transfer_never_helps(batches: list[Generated], time: TrainingTime, transfer: float, more: float) -> None:
    for name in PIPELINES:
        pipeline = Pipeline(name)
        assert total(run(pipeline, batches, time, transfer)) <= total(run(pipeline, batches, time, transfer + more)) + 1e-6


@given(batches=st.lists(stages(2), min_size=3, max_size=6), time=trainers)
def test_instances_that_need_not_wait_for_each_other_are_never_slower(batches: list[Generated], time: TrainingTime) -> None:
    fine = replace(time, micro_batch_tokens=1)
    stage = run(Pipeline("fully_async"), batches, fine, 0.0)
    instance = run(Pipeline("fully_async", handover="instance"), batches, fine, 0.0)
    assert total(instance) <= total(stage) + 1e-6


@given(batches=st.lists(stages(3), min_size=2, max_size=5), time=trainers, transfer=transfers, seed=st.integers(0, 99))
def test_the_names_of_instances_and_samples_do_not_matter(
    batches: list[Generated], time: TrainingTime, transfer: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    label = rng.permutation(3)

    def relabelled(stage: Generated) -> Generated:
        useful = np.empty(3)
        useful[label] = stage.useful_s
        return replace(stage, instance=label[stage.instance], useful_s=useful)

    for name in PIPELINES:
        here = run(Pipeline(name), batches, time, transfer)
        there = run(Pipeline(name), [relabelled(b) for b in batches], time, transfer)
        assert [i.seconds for i in there] == pytest.approx([i.seconds for i in here])
        assert [i.generation_bubble for i in there] == pytest.approx([i.generation_bubble for i in here])


def test_bubbles_are_those_of_a_hand_computed_run() -> None:
    # Two instances, 10 s and 4 s of work; training takes 6 s at the end. Both are idle while the other stage works.
    batch = Generated(np.array([10.0, 4.0]), np.array([0, 1]), np.array([3.0, 3.0]), np.array([10.0, 4.0]))
    time = TrainingTime(token_s=1.0, micro_batch_tokens=10**6)
    found = run(Pipeline("colocated"), [batch, batch], time, 4.0)[1]
    assert found.seconds == 20.0
    assert found.generation_busy_share == pytest.approx(0.5)
    assert found.training_busy_share == pytest.approx(0.3)
    assert found.generation_bubble == pytest.approx(1 - 14 / 40)
    assert found.training_bubble == pytest.approx(0.7)
    assert found.transfer_s == 4.0


def test_an_elastic_stage_may_change_its_instances_from_batch_to_batch() -> None:
    few = Generated(np.array([8.0]), np.array([0]), np.array([1.0]), np.array([8.0]))
    many = Generated(np.array([4.0, 4.0]), np.array([0, 1]), np.array([1.0, 1.0]), np.array([4.0, 4.0]))
    time = TrainingTime(token_s=0.1)
    for handover in ("stage", "instance"):
        found = run(Pipeline("fully_async", handover=handover), [few, many, few, many], time, 0.5)
        assert [i.samples for i in found] == [1, 2, 1, 2]


@given(batch=stages(), time=trainers, free=st.floats(0, 60))
def test_training_starts_no_sample_before_it_is_ready_and_does_all_the_work(
    batch: Generated, time: TrainingTime, free: float
) -> None:
    found = train_dynamic(time, batch.ready_s, batch.tokens, free)
    work = float(time.work(batch.tokens).sum())
    assert found.start >= max(free, batch.ready_s.min()) - 1e-9
    assert found.end >= batch.ready_s.max() + time.step_s
    assert found.end >= found.start + found.busy_s - 1e-6
    assert found.busy_s >= work + time.step_s - 1e-6
    assert 1 <= found.micro_batches <= len(batch.ready_s)


@given(batch=stages(), time=trainers)
def test_mini_batches_are_trained_when_complete(batch: Generated, time: TrainingTime) -> None:
    parts = min(3, len(batch.ready_s))
    cut = train_mini_batches(time, batch.ready_s, batch.tokens, 0.0, parts)
    assert cut.start >= np.sort(batch.ready_s)[len(np.array_split(batch.ready_s, parts)[0]) - 1] - 1e-9
    assert cut.end >= batch.ready_s.max() + time.step_s


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Pipeline("asynchronous"), "must be one of colocated, sync"),
        (lambda: Pipeline("sync", mini_batches=0), "at least 1, got 0"),
        (lambda: Pipeline("fully_async", staleness=0), "must be at least 1, got 0"),
        (lambda: TrainingTime(0.0), "token_s must be positive"),
        (lambda: TrainingTime(1.0, ranks=0), "ranks must be at least 1"),
        (lambda: Generated(np.array([-1.0]), np.array([0]), np.array([1.0]), np.array([1.0])), "ready after the start"),
        (lambda: Generated(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0), np.empty(0)), "at least one sample"),
        (lambda: list(simulate_pipeline(Pipeline("sync"), 0, None, None, None)), "at least 1 iteration"),  # type: ignore[arg-type]
    ],
)
def test_impossible_settings_are_refused(build, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        build()


def test_an_iteration_refuses_shares_and_counts_that_cannot_be() -> None:
    good = {
        "pipeline": "sync",
        "iteration": 0,
        "seconds": 1.0,
        "generation_busy_share": 0.5,
        "training_busy_share": 0.5,
        "generation_bubble": 0.5,
        "training_bubble": 0.5,
        "staleness": (2, 1),
        "tokens_wasted": 0,
        "samples": 3,
        "transfer_s": 0.0,
    }
    record = Iteration(**good)  # type: ignore[arg-type]
    assert record.as_json()["samples_per_s"] == 3.0
    for name, value in [
        ("seconds", 0.0),
        ("samples", 2),
        ("training_bubble", 1.5),
        ("staleness", (4, -1)),
        ("pipeline", "x"),
    ]:
        with pytest.raises(ValueError, match="got"):
            Iteration(**(good | {name: value}))  # type: ignore[arg-type]
