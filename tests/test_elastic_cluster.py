"""Instances that join and leave a running stage: laws L1 to L3 and L11, and what is refused."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import Case, cases

from makespan.harness.experiment import simulate
from makespan.harness.laws import assert_laws
from makespan.harness.workload import Workload
from makespan.runtime.elastic_cluster import Change
from makespan.runtime.engine import Timeline
from makespan.runtime.stage import simulate_stage
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.registry import load_policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import none, oracle
from makespan.schedulers.step_time import StepTime

POLICIES = ("fifo", "lpt", "pull_lpt", "least_in_flight", "work_stealing", "skew_aware", "ranker_guided", "equal_finish")


@st.composite
def changed(draw: st.DrawFn) -> tuple[Case, list[Change]]:
    case = draw(cases(arrivals=True, kv_travels=True, late_orders=True, agentic=True, shares=True))
    count = len(case.cluster)
    changes: list[Change] = []
    always = draw(st.integers(0, count - 1))
    for instance in range(count):
        if instance == always:
            continue
        times = sorted(draw(st.lists(st.floats(0, 4), max_size=4)))
        first = draw(st.booleans())
        changes += [Change(at, instance, first ^ bool(k % 2)) for k, at in enumerate(times)]
    return case, changes


def run(case: Case, policy: str, changes: list[Change]) -> Timeline:
    return simulate_stage(
        case.requests, case.output_tokens, case.cluster, load_policy(policy), oracle(case.output_tokens), changes, case.turns
    ).timeline


@pytest.mark.parametrize("policy", POLICIES)
@given(drawn=changed())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_l11_losing_and_adding_instances_keeps_l1_to_l3(policy: str, drawn: tuple[Case, list[Change]]) -> None:
    case, changes = drawn
    timeline = run(case, policy, changes)
    workload = Workload("case", case.requests, case.output_tokens, "drawn")
    assert timeline.finished.all()
    assert_laws(workload, case.cluster, timeline, 0.0)


@given(drawn=changed())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_starts_on_an_instance_that_is_not_there(drawn: tuple[Case, list[Change]]) -> None:
    case, changes = drawn
    never = {c.instance for c in changes if c.live} - {c.instance for c in changes if not c.live}
    late = [Change(1e6, i, True) for i in never]
    timeline = run(case, "lpt", [c for c in changes if c.instance not in never] + late)
    assert not np.isin(timeline.instance, list(never)).any()


def steady(count: int) -> Cluster:
    return Cluster.uniform(Instance(StepTime((1, 8), (0.01, 0.02)), 4096, max_batch=4, max_batched_tokens=256), count)


def stage(requests: int) -> tuple[Requests, np.ndarray]:
    return Requests.of(np.full(requests, 10), np.full(requests, 100)), np.full(requests, 50, dtype=np.int64)


def test_an_instance_that_joins_makes_the_stage_shorter_and_one_that_leaves_longer() -> None:
    requests, lengths = stage(64)
    policy, information = load_policy("lpt"), none(requests)

    def seconds(*changes: Change) -> float:
        return float(simulate_stage(requests, lengths, steady(2), policy, information, changes).timeline.ended.max())

    both, alone = seconds(), seconds(Change(1e6, 1, True))
    assert both < seconds(Change(2.0, 1, True)) < alone
    assert both < seconds(Change(2.0, 1, False)) < alone


def test_what_a_lost_instance_has_generated_is_kept_and_only_its_kv_is_computed_again() -> None:
    requests, lengths = stage(4)
    changes = [Change(0.2, 0, False)]
    timeline = simulate_stage(requests, lengths, steady(2), load_policy("fifo"), none(requests), changes).timeline
    moved = timeline.preemptions > 0
    assert moved.sum() == 2
    assert (timeline.generated == lengths).all()
    assert (timeline.recomputed[moved] > 0).all()
    assert (timeline.recomputed[~moved] == 0).all()


def test_a_stage_whose_first_instance_joins_late_waits_for_it() -> None:
    requests, lengths = stage(3)
    timeline = simulate_stage(
        requests, lengths, steady(1), load_policy("pull"), none(requests), [Change(5.0, 0, True)]
    ).timeline
    assert timeline.admitted.min() >= 5.0


def test_a_change_after_the_end_changes_nothing() -> None:
    requests, lengths = stage(20)
    policy = load_policy("lpt")
    late = simulate_stage(requests, lengths, steady(2), policy, none(requests), [Change(1e6, 1, False)]).timeline
    without = simulate(Workload("w", requests, lengths, "drawn"), steady(2), policy, none(requests)).timeline
    assert (late.ended == without.ended).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([Change(1.0, 2, True)], "must name an instance 0 to 1, got 2"),
        ([Change(1.0, 0, True), Change(2.0, 0, True)], "cannot join twice in a row"),
        ([Change(1.0, 0, False), Change(2.0, 1, False)], "must be left at the end"),
    ],
)
def test_impossible_changes_are_refused(changes: list[Change], message: str) -> None:
    requests, lengths = stage(2)
    with pytest.raises(ValueError, match=message):
        simulate_stage(requests, lengths, steady(2), load_policy("fifo"), none(requests), changes)


def test_a_change_at_a_negative_time_is_refused() -> None:
    with pytest.raises(ValueError, match="must join or leave between 0 and"):
        Change(-1.0, 0, True)
