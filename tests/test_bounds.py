"""The lower bound: below every schedule (L4, asserted on every run), never below the simple bounds, tight where known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import Case, cases

from makespan.harness.experiment import simulate
from makespan.harness.workload import Workload
from makespan.schedulers import request_cells
from makespan.schedulers.bounds import lower_bound
from makespan.schedulers.catalog import fifo
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.prefill_step_time import PrefillStepTime
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import none
from makespan.schedulers.step_time import PICOSECONDS, StepTime
from makespan.schedulers.supporting_lines import supporting_lines

thorough = settings(max_examples=60, deadline=None)


def bound_of(case: Case) -> float:
    return lower_bound(case.requests, case.output_tokens, case.cluster)


@given(case=cases(mixed=False, prefill_steps=False), data=st.data())
@thorough
def test_no_choice_of_weights_in_the_dual_theorem_gives_more(case: Case, data: st.DataObject) -> None:
    """The bound is the best of the family in the design notes: makespan >= sum of weighted terms, for any weights."""
    share = st.floats(0, 1)
    instance, count = case.cluster.instances[0], len(case.cluster)
    table = instance.step_time.table_ps(instance.max_batch)
    alpha, beta = data.draw(st.sampled_from(supporting_lines(table)))
    gamma, rho = instance.step_time.ps_per_kv_token, instance.step_time.ps_per_prefill_token
    prompts, outputs = case.requests.prompt_tokens, case.output_tokens
    held = [p + np.arange(o) for p, o in zip(prompts, outputs, strict=True)]
    work = [beta + gamma * kv for kv in held]
    nu = data.draw(share) / count
    mu = np.array(data.draw(st.lists(st.floats(0.01, 1), min_size=len(prompts), max_size=len(prompts))))
    mu *= (1 - count * nu) / mu.sum()
    kv_share, batch_share = data.draw(share), data.draw(share)
    capacity = instance.kv_blocks * 16
    c = nu * alpha * kv_share / capacity
    d = nu * alpha * (1 - kv_share) * batch_share / instance.max_batch
    slack = nu * alpha - capacity * c - instance.max_batch * d
    total = sum(
        mu[j] * alpha * outputs[j]
        + 2 * np.sqrt(max(mu[j] * slack, 0)) * np.sqrt(work[j]).sum()
        + c * held[j].sum()
        + d * outputs[j]
        + nu * work[j].sum()
        + (mu[j] + nu) * rho * prompts[j]
        for j in range(len(prompts))
    )
    # Prices of time come from a grid, and directions of charges from a list.
    allowance = 2e-3
    assert total / PICOSECONDS <= bound_of(case) * (1 + allowance) + 1e-12


@given(case=cases(), more=st.integers(1, 3))
@thorough
def test_more_instances_never_raise_it(case: Case, more: int) -> None:
    first = case.cluster.instances[0]
    alike = Cluster.uniform(first, len(case.cluster))
    larger = Cluster.uniform(first, len(case.cluster) + more)
    assert lower_bound(case.requests, case.output_tokens, larger) <= lower_bound(
        case.requests, case.output_tokens, alike
    ) * (1 + 2e-3)


def test_a_step_that_prefills_is_as_long_for_tokens_of_either_sort() -> None:
    law = PrefillStepTime((3, 4), (0.02, 0.04))
    instance = Instance(StepTime((1,), (0.04,), prefill_steps=law), 16, max_batch=2, max_batched_tokens=3)
    requests = Requests.of(np.array([1] * 11 + [8]), np.ones(12, dtype=np.int64))
    # Nineteen tokens in all, three a step.
    bound = lower_bound(requests, np.ones(12, dtype=np.int64), Cluster.uniform(instance, 1))
    assert bound == pytest.approx(0.02 * 19 / 3)


@given(case=cases(max_requests=12), data=st.data())
@settings(max_examples=40, deadline=None)
def test_more_kv_more_slots_and_less_to_do_never_raise_it(case: Case, data: st.DataObject) -> None:
    # The prices of several kinds are searched for: any give a bound, but a better cluster may be searched more luckily.
    first, more = case.cluster.instances[0], data.draw(st.integers(0, 4))
    case = Case(case.requests, case.output_tokens, Cluster.uniform(first, len(case.cluster)))
    roomier = replace(
        first,
        kv_capacity_tokens=first.kv_capacity_tokens + data.draw(st.integers(0, 200)),
        max_batch=first.max_batch + more,
        max_batched_tokens=first.max_batched_tokens + more,
    )
    better = Cluster.uniform(roomier, len(case.cluster))
    fewer = np.maximum(case.output_tokens - data.draw(st.integers(0, 20)), 1)
    bound = bound_of(case) * (1 + 2e-3)
    assert bound_of(Case(case.requests, case.output_tokens, better)) <= bound
    assert bound_of(Case(case.requests, fewer, case.cluster)) <= bound
    if len(case.requests) > 1:
        rows = np.arange(len(case.requests) - 1)
        assert bound_of(Case(case.requests.take(rows), case.output_tokens[rows], case.cluster)) <= bound


@given(case=cases(max_requests=12), data=st.data())
@settings(max_examples=40, deadline=None)
def test_what_a_cluster_does_lies_above_the_bound_of_a_better_one(case: Case, data: st.DataObject) -> None:
    better = Cluster(
        tuple(
            replace(
                i,
                kv_capacity_tokens=i.kv_capacity_tokens + data.draw(st.integers(0, 200)),
                max_batch=i.max_batch + (more := data.draw(st.integers(0, 4))),
                max_batched_tokens=i.max_batched_tokens + more,
            )
            for i in case.cluster
        )
    )
    workload = Workload("drawn", case.requests, case.output_tokens, "drawn")
    run = simulate(workload, case.cluster, fifo, none(case.requests))
    assert bound_of(Case(case.requests, case.output_tokens, better)) <= np.nanmax(run.timeline.ended)


@given(case=cases(max_requests=12), data=st.data())
@settings(max_examples=40, deadline=None)
def test_of_several_kinds_it_is_no_less_than_with_the_best_of_each_and_no_more_than_with_the_worst(
    case: Case, data: st.DataObject
) -> None:
    first = case.cluster.instances[0]
    slower = replace(
        first,
        step_time=StepTime((1, 8), (0.06, 0.08), first.step_time.seconds_per_kv_token, 1e-4),
        max_batch=max(first.max_batch - 2, 1),
        sequence=1,
    )
    linear = replace(first, step_time=replace(first.step_time, prefill_steps=None, padded_kv_share=0.0), sequence=0)
    mixed = Cluster((linear, slower))
    bound = bound_of(Case(case.requests, case.output_tokens, mixed))
    fast = bound_of(Case(case.requests, case.output_tokens, Cluster.uniform(linear, 2)))
    slow = bound_of(Case(case.requests, case.output_tokens, Cluster.uniform(slower, 2)))
    assert fast * (1 - 2e-3) <= bound <= slow * (1 + 2e-3)


@given(case=cases(), factor=st.integers(2, 5))
@thorough
def test_longer_outputs_never_lower_it(case: Case, factor: int) -> None:
    longer = Case(case.requests, case.output_tokens * factor, case.cluster)
    assert bound_of(longer) >= bound_of(case) * (1 - 2e-3)


@given(case=cases(mixed=False, prefill_steps=False))
@thorough
def test_it_is_never_below_the_simple_bounds(case: Case) -> None:
    instance = case.cluster.instances[0]
    step, table = instance.step_time, instance.step_time.table_ps(instance.max_batch)[1:]
    throughput = (np.arange(1, len(table) + 1) / table).max()
    work = case.output_tokens.sum() / throughput / len(case.cluster) / PICOSECONDS
    alone = case.output_tokens.max() * table.min() / PICOSECONDS
    prefill = (case.requests.prompt_tokens * step.seconds_per_prefill_token).sum() / len(case.cluster)
    assert bound_of(case) >= max(alone, work, prefill) * (1 - 1e-6)


@given(output=st.integers(1, 200), prompt=st.integers(1, 40), step=st.floats(1e-3, 0.1))
@thorough
def test_it_is_exact_for_a_request_alone(output: int, prompt: int, step: float) -> None:
    requests = Requests.of([prompt], [200])
    cluster = Cluster.uniform(Instance(StepTime((1, 4), (step, 2 * step), 1e-6, 1e-5), 4096, max_batch=4), 2)
    workload = Workload("alone", requests, np.array([output]), "drawn")
    run = simulate(workload, cluster, fifo, none(requests))
    assert lower_bound(requests, workload.output_tokens, cluster) == pytest.approx(run.timeline.ended[0], rel=1e-8)


@given(length=st.integers(1, 50), rounds=st.integers(1, 4), batch=st.integers(1, 6), instances=st.integers(1, 3))
@thorough
def test_it_is_exact_for_equal_requests_in_full_batches(length: int, rounds: int, batch: int, instances: int) -> None:
    assume(length * rounds > 0)
    count = rounds * batch * instances
    requests = Requests.of(np.ones(count), np.full(count, 50))
    cluster = Cluster.uniform(Instance(StepTime((1,), (0.01,)), 16 * 64 * batch, batch, max_batched_tokens=batch), instances)
    workload = Workload("equal", requests, np.full(count, length), "drawn")
    run = simulate(workload, cluster, fifo, none(requests))
    assert lower_bound(requests, workload.output_tokens, cluster) == pytest.approx(run.timeline.ended.max(), rel=1e-8)


@given(case=cases())
@thorough
def test_supporting_lines_lie_below_the_table(case: Case) -> None:
    for instance in case.cluster:
        table = instance.step_time.table_ps(instance.max_batch)[1:]
        for alpha, beta in supporting_lines(np.concatenate([[0], table])):
            assert alpha >= 0
            assert beta >= 0
            assert (alpha + beta * np.arange(1, len(table) + 1) <= table * (1 + 1e-12)).all()


def test_many_requests_in_classes_are_no_worse_than_one_by_one_by_more_than_a_little() -> None:
    rng = np.random.default_rng(0)
    outputs = np.minimum(rng.lognormal(6, 1, 20_000), 8000).astype(np.int64) + 1
    requests = Requests.of(rng.integers(1, 500, 20_000), np.full(20_000, 8001))
    cluster = Cluster.uniform(Instance(StepTime((1, 256), (0.008, 0.02), 3e-8, 1e-5), 400_000, max_batch=128), 64)
    merged = lower_bound(requests, outputs, cluster)
    few, request_cells._ONE_BY_ONE = request_cells._ONE_BY_ONE, 10**9
    try:
        single = lower_bound(requests, outputs, cluster)
    finally:
        request_cells._ONE_BY_ONE = few
    assert single * (1 - 1e-3) <= merged <= single * (1 + 1e-9)
