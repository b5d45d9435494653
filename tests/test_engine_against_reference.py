"""The event-skipping engine gives exactly the times of an engine that makes one step after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_engine import Job, ReferenceInstance
from strategies import Case, cases

from makespan.runtime.dispatcher import Dispatcher
from makespan.runtime.fast_path import simulate_plan
from makespan.runtime.simulated_cluster import SimulatedCluster
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.orders import LongestFirst, ShortestFirst
from makespan.schedulers.placements import RoundRobin
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import oracle
from makespan.schedulers.step_time import PICOSECONDS, StepTime
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View


def reference_run(case: Case, policy: Policy) -> list[Job]:
    requests = case.requests
    view = View.at_start(case.cluster, requests, oracle(case.output_tokens).estimate(requests))
    keys = policy.order.keys(view, np.arange(len(requests)))
    where = policy.placement.place(view, np.arange(len(requests)))
    turn = {row: k for k, row in enumerate(_hand_over_order(case, keys))}
    jobs = [
        Job(j, int(requests.prompt_tokens[j]), int(case.output_tokens[j]), float(keys[j]), turn[j],
            round(float(requests.arrival[j]) * PICOSECONDS))
        for j in range(len(requests))
    ]  # fmt: skip
    for i, instance in enumerate(case.cluster):
        ReferenceInstance(instance, [job for job in jobs if where[job.row] == i]).run()
    return jobs


def _hand_over_order(case: Case, keys: FloatArray) -> IntArray:
    order: IntArray = np.lexsort((case.requests.sequence, keys, case.requests.arrival))
    return order


@given(case=cases(arrivals=True), order=st.sampled_from([LongestFirst(), ShortestFirst()]))
@settings(max_examples=300, deadline=None)
def test_skipping_events_changes_no_finish_time(case: Case, order: LongestFirst | ShortestFirst) -> None:
    policy = Policy(order=order, placement=RoundRobin())
    engine = SimulatedCluster(case.cluster, case.requests, case.output_tokens)
    Dispatcher(case.requests, engine, policy, oracle(case.output_tokens)).run()
    jobs = reference_run(case, policy)
    timeline = engine.timeline()
    assert [round(t * PICOSECONDS) for t in timeline.ended] == [job.ended_ps for job in jobs]
    assert timeline.preemptions.tolist() == [job.preemptions for job in jobs]


@given(case=cases())
@settings(max_examples=200, deadline=None)
def test_l10_the_fast_path_and_the_event_loop_agree_in_everything(case: Case) -> None:
    policy = Policy(order=LongestFirst(), placement=RoundRobin())
    information = oracle(case.output_tokens)
    engine = SimulatedCluster(case.cluster, case.requests, case.output_tokens)
    Dispatcher(case.requests, engine, policy, information).run()
    view = View.at_start(case.cluster, case.requests, information.estimate(case.requests))
    rows = policy.ordered(view, np.arange(len(case.requests)))
    where = policy.placement.place(view, rows)
    plan = simulate_plan(case.cluster, case.requests, case.output_tokens, rows, where, policy.order.keys(view, rows))
    loop = engine.timeline()
    for name in loop.__slots__:
        np.testing.assert_array_equal(getattr(loop, name), getattr(plan, name), err_msg=name)


def test_a_request_that_no_instance_can_hold_is_refused_by_size() -> None:
    cluster = Cluster.uniform(Instance(StepTime((1,), (0.01,)), 64), 1)
    requests = Requests.of([40, 40], [64, 64])
    with pytest.raises(ValueError, match=r"\(64 tokens in whole blocks\), got 65 tokens for request 1"):
        SimulatedCluster(cluster, requests, np.array([25, 26]))
