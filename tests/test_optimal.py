"""Plans by first fit and by the solver: their model is the engine, their bounds hold, and what is on an instance stays."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from makespan.harness.generators import codemath_10k, lognormal
from makespan.harness.workload import Workload
from makespan.runtime.elastic_cluster import Change
from makespan.runtime.fast_path import simulate_plan
from makespan.runtime.profiles import load_profile
from makespan.runtime.stage import simulate_stage
from makespan.schedulers.catalog import optimal
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.optimal import Optimal
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import oracle
from makespan.schedulers.stage_plan import StagePlan
from makespan.schedulers.stay_bound import stay_bound_ps
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.testing import check_policy
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import RUNNING, View

QUICK = Policy(order=optimal.order, placement=Optimal(time_limit_s=0.05, tries=4), information=("oracle",))


def view_of(requests: Requests, outputs: IntArray, cluster: Cluster) -> View:
    return View.at_start(cluster, requests, oracle(outputs).estimate(requests))


def simulated(plan: StagePlan, where: IntArray, requests: Requests, outputs: IntArray) -> FloatArray:
    keys = np.arange(len(plan), dtype=np.float64)
    timeline = simulate_plan(plan.cluster, requests, outputs, plan.rows, where, keys)
    return np.array([timeline.ended[timeline.instance == i].max(initial=0) for i in range(len(plan.cluster))])


lengths = st.lists(st.integers(1, 60), min_size=1, max_size=24)
steps = st.lists(st.floats(5e-3, 5e-2), min_size=4, max_size=4).map(lambda s: tuple(sorted(s)))


@given(outputs=lengths, seconds=steps, kv=st.sampled_from([0.0, 1e-6]), slots=st.integers(1, 8), data=st.data())
@settings(max_examples=100, deadline=None)
def test_the_ends_of_a_plan_are_those_of_the_engine(
    outputs: list[int], seconds: tuple[float, ...], kv: float, slots: int, data: st.DataObject
) -> None:
    cluster = Cluster.uniform(Instance(StepTime((1, 2, 4, 8), seconds, kv, 1e-5), 10**6, max_batch=slots), 3)
    requests = Requests.of(
        data.draw(st.lists(st.integers(1, 9), min_size=len(outputs), max_size=len(outputs))), np.full(len(outputs), 64)
    )
    tokens = np.array(outputs)
    plan = StagePlan.of(view_of(requests, tokens, cluster), np.arange(len(outputs)))
    where = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(outputs), max_size=len(outputs))))
    assert plan.ends(where) / 1e12 == pytest.approx(simulated(plan, where, requests, tokens), rel=1e-9)
    for made in (plan.least_end(), plan.first_fit()):
        assert ((made >= 0) & (made < 3)).all()


@given(outputs=st.lists(st.integers(1, 30), min_size=1, max_size=6), seconds=steps, slots=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_what_stays_and_is_not_interrupted_does_not_beat_its_bound(
    outputs: list[int], seconds: tuple[float, ...], slots: int
) -> None:
    cluster = Cluster.uniform(Instance(StepTime((1, 2, 4, 8), seconds, 1e-6, 1e-5), 10**6, max_batch=slots), 2)
    requests = Requests.of(np.ones(len(outputs)), np.full(len(outputs), 64))
    tokens = np.array(outputs)
    plan = StagePlan.of(view_of(requests, tokens, cluster), np.arange(len(outputs)))
    best = min(simulated(plan, np.array(w), requests, tokens).max() for w in product(range(2), repeat=len(outputs)))
    free = stay_bound_ps(plan, interrupted=True) / 1e12
    assert free <= stay_bound_ps(plan, interrupted=False) / 1e12 * (1 + 1e-12) <= best * (1 + 1e-9)
    solution = Optimal(time_limit_s=0.2).solve(view_of(requests, tokens, cluster), np.arange(len(outputs)))
    assert solution.bound_s <= best * (1 + 1e-9)
    assert solution.objective_s >= best * (1 - 1e-9)
    if solution.status == "optimal":
        assert solution.objective_s == pytest.approx(best, rel=1e-5)


def test_many_requests_of_one_length_need_whole_rounds() -> None:
    cluster = Cluster.uniform(Instance(StepTime((1,), (0.01,)), 10**6, max_batch=2), 2)
    requests = Requests.of(np.ones(5), np.full(5, 64))
    plan = StagePlan.of(view_of(requests, np.full(5, 50), cluster), np.arange(5))
    # Of five on four slots two share one; with preemption 63 steps would do.
    assert stay_bound_ps(plan, interrupted=False) / 1e12 == pytest.approx(1.0)
    assert stay_bound_ps(plan, interrupted=True) / 1e12 == pytest.approx(0.625, rel=1e-6)


@pytest.mark.parametrize(("generator", "slots"), [(lognormal(1.0), 16), (codemath_10k, 4), (lognormal(1.0), 64)])
def test_first_fit_is_within_a_hundredth_of_the_bound_on_512_requests(generator, slots: int) -> None:  # type: ignore[no-untyped-def]
    workload: Workload = generator(None, 512, 0)
    cluster = Cluster.uniform(load_profile("llama3.1-8b-rtxpro6000").instance(max_batch=slots), 8)
    solution = Optimal(time_limit_s=1e-3, tries=0).solve(
        view_of(workload.requests, workload.output_tokens, cluster), np.arange(512)
    )
    assert solution.gap <= 1.01
    assert solution.moving_bound_s <= solution.bound_s


def test_a_hint_that_is_better_is_kept() -> None:
    requests, tokens = Requests.of(np.ones(4), np.full(4, 64)), np.array([60, 1, 1, 1])
    cluster = Cluster.uniform(Instance(StepTime((1, 4), (0.01, 0.05)), 10**6, max_batch=4), 2)
    view = view_of(requests, tokens, cluster)
    hint = np.array([1, 0, 0, 0])
    solution = Optimal(time_limit_s=0.01).solve(view, np.arange(4), hint)
    plan = StagePlan.of(view, np.arange(4))
    assert solution.objective_s <= plan.ends(hint[plan.rows]).max() / 1e12 * (1 + 1e-12)


def test_it_plans_what_is_left_beside_what_runs() -> None:
    requests, tokens = Requests.of(np.ones(6), np.full(6, 128)), np.array([100, 90, 40, 30, 20, 10])
    cluster = Cluster.uniform(Instance(StepTime((1, 4), (0.01, 0.04)), 10**6, max_batch=4), 2)
    view = view_of(requests, tokens, cluster)
    inside = np.array([0, 0, -1, -1, -1, -1])
    view = replace(
        view,
        instance=inside,
        state=np.where(inside >= 0, RUNNING, view.state),
        generated=np.array([5, 5, 0, 0, 0, 0]),
        in_flight=np.array([2, 0]),
        running=np.array([2, 0]),
    )
    where = Optimal(time_limit_s=0.1).place(view, np.array([5, 2, 3, 4]))
    assert (where == 1).all()


def test_it_goes_on_when_instances_are_lost_and_join() -> None:
    requests, tokens = Requests.of(np.ones(40), np.full(40, 128)), np.arange(3, 123, 3)
    cluster = Cluster.uniform(Instance(StepTime((1, 4), (0.01, 0.02)), 10**6, max_batch=4), 3)
    changes = (Change(0.2, 1, live=False), Change(0.9, 1, live=True))
    run = simulate_stage(requests, tokens, cluster, QUICK, oracle(tokens), changes)
    assert run.timeline.finished.all()


def test_it_passes_the_conformance_check() -> None:
    check_policy(QUICK, views=4)
