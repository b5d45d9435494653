"""Our own policy: its model of an instance against the simulated one, its beliefs, and what it gains."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from makespan.harness.experiment import simulate
from makespan.harness.informations import make_information
from makespan.harness.measures import makespan
from makespan.harness.set_up import Load, batch_limit
from makespan.harness.workload import Workload
from makespan.harness.workloads import load_workload
from makespan.schedulers import sources
from makespan.schedulers.bounds import lower_bound
from makespan.schedulers.catalog import finish_together, least_in_flight, lpt
from makespan.schedulers.estimates import Estimates
from makespan.schedulers.finish_model import FinishModel, Work
from makespan.schedulers.finish_together import FinishTogether
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.long_shares import long_shares
from makespan.schedulers.overtake import Overtake
from makespan.schedulers.remaining import believed
from makespan.schedulers.requests import Requests
from makespan.schedulers.respread import Respread
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.view import View

STEP = StepTime((1, 4, 16), (0.01, 0.012, 0.03))
lengths = st.lists(st.integers(1, 200), min_size=1, max_size=24)


@given(lengths=lengths, max_batch=st.integers(1, 8))
@settings(deadline=None)
def test_the_model_of_an_instance_ends_when_the_simulated_one_does(lengths: list[int], max_batch: int) -> None:
    instance = Instance(STEP, 1_000_000, max_batch)
    count = len(lengths)
    requests = Requests.of(np.ones(count), np.full(count, 200))
    workload = Workload("drawn", requests, np.array(lengths), "hypothesis")
    run = simulate(workload, Cluster.uniform(instance, 1), least_in_flight, sources.none(requests))
    work = Work(np.array(lengths, dtype=np.float64), np.ones(count), np.ones(count))
    assert FinishModel.of(instance).finish(work) == pytest.approx(makespan(run.timeline), rel=1e-9)


@given(lengths=lengths, dedicated=st.integers(1, 4))
def test_shares_are_stretches_and_all_of_them_leave_nothing(lengths: list[int], dedicated: int) -> None:
    tokens = -np.sort(-np.array(lengths, dtype=np.float64))
    work = Work(tokens, np.ones(len(tokens)), np.ones(len(tokens)))
    ends = long_shares(work, [FinishModel.of(Instance(STEP, 1_000_000, 4))] * 4, dedicated)
    assert (np.diff(ends) >= 0).all()
    assert ends[0] >= 0
    assert ends[-1] <= len(tokens)
    if dedicated == 4:
        assert ends[-1] == len(tokens)


def view_of(estimates: Estimates, generated: list[int], cap: int = 1000) -> View:
    count = len(generated)
    cluster = Cluster.uniform(Instance(STEP, 1_000_000, 4), 2)
    view = View.at_start(cluster, Requests.of(np.full(count, 10), np.full(count, cap)), estimates)
    return replace(view, generated=np.array(generated))


@given(generated=st.integers(0, 900), spread=st.floats(0.1, 2))
def test_what_remains_is_what_the_conditional_distribution_says(generated: int, spread: float) -> None:
    levels = (0.5, 0.9)
    quantiles = np.array([[100.0, 100.0 * 9**spread]])
    view = view_of(Estimates(np.array([100.0]), "test", levels, quantiles), [generated], cap=10**9)
    belief = believed(view, np.arange(1))
    survival = [1 / (1 + (x / 100) ** (1 / spread)) for x in (generated, generated + belief.exceeded_by(0.3)[0])]
    if belief.exceeded_by(0.3)[0] > 1:
        assert survival[1] == pytest.approx(0.3 * survival[0], rel=1e-6)
    assert belief.potential()[0] >= belief.exceeded_by(0.3)[0] >= belief.exceeded_by(0.9)[0] >= 1


def test_an_oracle_is_certain_and_remaining_tokens_are_exact() -> None:
    truth = np.array([50, 700])
    requests = Requests.of([10, 10], [1000, 1000])
    belief = believed(view_of(sources.oracle(truth).estimate(requests), [20, 0]), np.arange(2))
    assert belief.certain
    np.testing.assert_allclose(belief.mean(), [30, 700])


def cell(name: str, per_slot: float, requests: int) -> tuple[Workload, Cluster]:
    workload = load_workload(name, requests, 0)
    limit = batch_limit(requests, 8, per_slot)
    return workload, Load("streamrl-7b-h800", 8, limit).cell(workload, 0).cluster


@pytest.mark.parametrize("per_slot", [1, 4, 16])
def test_with_true_lengths_it_ends_within_five_hundredths_of_the_bound(per_slot: float) -> None:
    workload, cluster = cell("codemath_10k", per_slot, 1024)
    run = simulate(workload, cluster, finish_together, make_information("oracle", workload, 0))
    assert makespan(run.timeline) <= 1.05 * lower_bound(workload.requests, workload.output_tokens, cluster)


@pytest.mark.parametrize(("information", "rival"), [("none", least_in_flight), ("noisy_oracle_0.5", lpt)])
def test_it_is_not_worse_than_the_simple_rule_by_more_than_a_hundredth(information: str, rival: object) -> None:
    for per_slot in (1, 4, 16):
        workload, cluster = cell("smollm2", per_slot, 512)
        ends = [
            makespan(simulate(workload, cluster, policy, make_information(information, workload, 0)).timeline)  # type: ignore[arg-type]
            for policy in (finish_together, rival)
        ]
        assert ends[0] <= 1.01 * ends[1]


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: FinishTogether(draws=0), "lengths must be drawn at least once, got 0"),
    (lambda: FinishTogether(hedges=(1.5,)), r"hedges must be shares between 0 and 1, got \(1.5,\)"),
    (lambda: FinishTogether(margin=1.0), "the margin must lie from 0 to 1, got 1.0"),
    (lambda: Overtake(margin=1.0), "the margin must lie from 0 to 1, got 1.0"),
    (lambda: Overtake(looks=0), "slices must be considered at least once, got 0"),
    (lambda: Respread(gain=0.0), "the gain that a correction must bring lies between 0 and 1, got 0.0"),
    (lambda: Respread(draws=0), "draws must be at least 1, got 0"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_parameters_outside_their_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
