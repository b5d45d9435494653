"""The laws of DESIGN.md, over every policy that is installed, plug-ins included."""

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import Case, cases

from makespan.harness.experiment import Cell, simulate
from makespan.harness.informations import make_information
from makespan.harness.laws import assert_laws
from makespan.harness.workload import Workload
from makespan.runtime.dispatcher import Dispatcher
from makespan.runtime.engine import Ended
from makespan.runtime.simulated_cluster import SimulatedCluster
from makespan.schedulers.bounds import lower_bound
from makespan.schedulers.catalog import pull_lpt
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.issues import OverIssue
from makespan.schedulers.optimal import Optimal
from makespan.schedulers.placements import LeastTokens
from makespan.schedulers.policy import Policy
from makespan.schedulers.pull import Pull
from makespan.schedulers.rebalances import StealQueued
from makespan.schedulers.registry import load_policy, policies
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.testing import check_policy
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import OUTSIDE, View

NAMES = policies.names()
INFORMATION = ("none", "siblings", "noisy_oracle_0.7", "oracle")
thorough = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def workload_of(case: Case) -> Workload:
    return Workload("drawn", case.requests, case.output_tokens, "hypothesis")


def quick(name: str) -> Policy:
    """Return the policy; the solver's gets a small time limit, which is no part of what it must keep."""
    policy = load_policy(name)
    if isinstance(policy.placement, Optimal):
        return Policy(policy.order, Optimal(time_limit_s=0.05), policy.admission, policy.rebalance, policy.issue)
    return policy


def cases_for(name: str) -> st.SearchStrategy[Case]:
    """Return cases with arrivals, except for the policy that would start a solver at each of them."""
    return cases(arrivals=not isinstance(load_policy(name).placement, Optimal))


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_keeps_the_contract_of_its_parts(name: str) -> None:
    check_policy(quick(name))


@pytest.mark.parametrize("name", NAMES)
@given(case=cases(), information=st.sampled_from(INFORMATION))
@thorough
def test_l1_l2_l3_l4_hold_when_all_requests_are_there_at_the_start(name: str, case: Case, information: str) -> None:
    workload = workload_of(case)
    run = simulate(workload, case.cluster, quick(name), make_information(information, workload, 1))
    assert_laws(workload, case.cluster, run.timeline, lower_bound(case.requests, case.output_tokens, case.cluster))
    assert run.timeline.finished.all()


@pytest.mark.parametrize("name", [n for n in NAMES if not isinstance(load_policy(n).placement, Optimal)])
@given(case=cases(arrivals=True), information=st.sampled_from(INFORMATION))
@thorough
def test_l1_l2_l3_l4_hold_when_requests_arrive_over_time(name: str, case: Case, information: str) -> None:
    workload = workload_of(case)
    run = simulate(workload, case.cluster, quick(name), make_information(information, workload, 1))
    assert_laws(workload, case.cluster, run.timeline, lower_bound(case.requests, case.output_tokens, case.cluster))
    assert run.timeline.finished.all()


@given(case=cases(arrivals=True), factor=st.floats(1.05, 4), steal=st.booleans())
@settings(max_examples=150, deadline=None)
def test_l1_l2_l3_l4_hold_when_unfinished_requests_are_aborted(case: Case, factor: float, steal: bool) -> None:
    policy = Policy(placement=LeastTokens(), issue=OverIssue(factor))
    if steal:
        policy = Policy(rebalance=StealQueued(), issue=OverIssue(factor))
    record = Cell(workload_of(case), case.cluster, "drawn").race("drawn", policy, "none")
    assert record.generated_tokens == record.delivered_tokens + record.wasted_tokens


class WatchedCluster(SimulatedCluster):
    """Notes what is handed to it, and checks what idles whenever time is about to pass."""

    def __init__(self, cluster: Cluster, requests: Requests, output_tokens: IntArray) -> None:
        super().__init__(cluster, requests, output_tokens)
        self.arrival = requests.arrival
        self.starts: list[tuple[float, int, int, float]] = []
        self.idle_with_work = 0

    def start(self, rows, instances, keys, tokens=None) -> None:  # type: ignore[no-untyped-def]
        self.starts += [(self.now, int(r), int(i), float(k)) for r, i, k in zip(rows, instances, keys, strict=True)]
        super().start(rows, instances, keys, tokens)

    def wait(self, until: float = float("inf")) -> Ended:
        waiting = (self.state == OUTSIDE) & (self.arrival <= self.now)
        idle = (self.running + self.queued) == 0
        self.idle_with_work += bool(waiting.any() and idle.any())
        return super().wait(until)


def watched(case: Case, policy: Policy, information: str) -> WatchedCluster:
    engine = WatchedCluster(case.cluster, case.requests, case.output_tokens)
    source = make_information(information, workload_of(case), 1)
    Dispatcher(case.requests, engine, policy, source).run()
    return engine


@pytest.mark.parametrize("name", [n for n in NAMES if load_policy(n).work_conserving])
@given(case=cases(arrivals=True), information=st.sampled_from(INFORMATION))
@thorough
def test_l5_no_instance_idles_while_work_waits(name: str, case: Case, information: str) -> None:
    assert watched(case, load_policy(name), information).idle_with_work == 0


def test_l5_is_claimed_by_the_policies_that_pull_and_not_by_those_that_push() -> None:
    assert {n for n in NAMES if isinstance(load_policy(n).placement, Pull)} <= {
        n for n in NAMES if load_policy(n).work_conserving
    }
    assert not load_policy("fifo").work_conserving


_PRINT_PLANS = """
import numpy as np
from makespan.harness.experiment import Cell
from makespan.harness.generators import lognormal
from makespan.schedulers.registry import load_policy, policies
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.kv_moves import KvMoves
from makespan.schedulers.orders import LongestFirst
from makespan.schedulers.policy import Policy
from makespan.schedulers.pull import Pull
from makespan.schedulers.step_time import StepTime
workload = lognormal(1.0)(None, 48, 3)
instance = Instance(StepTime((1, 8), (0.01, 0.02), 1e-7, 1e-6), 400_000, max_batch=4)
cluster = Cluster.uniform(instance, 3, kv_moves=KvMoves(1000, 1e7))
chosen = {name: load_policy(name) for name in policies.names()}
chosen["chunks"] = Policy(order=LongestFirst(), placement=Pull(), chunk_tokens=9)
for name, policy in chosen.items():
    record = Cell(workload, cluster, "p", 3).race(name, policy, "noisy_oracle_0.5")
    print(name, record.makespan_s.hex(), [t.hex() for t in record.completion])
"""


def test_l6_another_process_with_another_hash_seed_gives_the_same_bytes() -> None:
    outputs = [
        subprocess.run(
            [sys.executable, "-c", _PRINT_PLANS],
            capture_output=True,
            check=True,
            env={**__import__("os").environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "77")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0].splitlines()) == len(NAMES) + 1


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data(), information=st.sampled_from(INFORMATION))
@thorough
def test_l7_relabelling_relabels_the_run_and_changes_nothing_else(name: str, data: st.DataObject, information: str) -> None:
    case = data.draw(cases_for(name))
    rows = np.array(data.draw(st.permutations(range(len(case.requests)))))
    places = np.array(data.draw(st.permutations(range(len(case.cluster)))))
    relabelled = Case(
        case.requests.take(rows),
        case.output_tokens[rows],
        case.cluster.only(places),
    )
    runs = [
        simulate(w := workload_of(c), c.cluster, quick(name), make_information(information, w, 1)).timeline
        for c in (case, relabelled)
    ]
    np.testing.assert_array_equal(runs[1].ended, runs[0].ended[rows])
    np.testing.assert_array_equal(places[runs[1].instance], runs[0].instance[rows])


def best_makespan(lengths: IntArray, instances: int) -> int:
    """Return the optimum of P || Cmax by trying every assignment."""
    return min(
        max(sum(int(w) for w, i in zip(lengths, where, strict=True) if i == k) for k in range(instances))
        for where in product(range(instances), repeat=len(lengths))
    )


small = st.lists(st.integers(1, 40), min_size=1, max_size=7).map(lambda x: np.array(x, dtype=np.int64))


def one_at_a_time(lengths: IntArray, instances: int) -> tuple[Requests, Cluster]:
    step = StepTime((1,), (1.0,))
    return (
        Requests.of(np.ones(len(lengths)), np.full(len(lengths), 64)),
        Cluster.uniform(Instance(step, 160, max_batch=1, max_batched_tokens=1), instances),
    )


@given(lengths=small, instances=st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_l8_longest_first_is_within_four_thirds_of_the_optimum(lengths: IntArray, instances: int) -> None:
    requests, cluster = one_at_a_time(lengths, instances)
    record = Cell(Workload("w", requests, lengths, ""), cluster, "p").race("pull_lpt", pull_lpt, "oracle")
    best = best_makespan(lengths, instances)
    assert best <= record.makespan_s <= (4 / 3 - 1 / (3 * instances)) * best + 1e-9


@given(lengths=small, instances=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_l8_the_solver_finds_and_proves_the_optimum(lengths: IntArray, instances: int) -> None:
    requests, cluster = one_at_a_time(lengths, instances)
    workload = Workload("w", requests, lengths, "")
    view = View.at_start(cluster, requests, make_information("oracle", workload, 0).estimate(requests))
    solution = Optimal(time_limit_s=5).solve(view, np.arange(len(lengths)))
    best = best_makespan(lengths, instances)
    assert solution.status == "optimal"
    assert solution.objective_s == pytest.approx(best)
    assert solution.bound_s == pytest.approx(best)
    record = Cell(workload, cluster, "p").race("optimal", Policy(placement=Optimal(time_limit_s=5)), "oracle")
    assert record.makespan_s == pytest.approx(best)


@pytest.mark.parametrize("name", NAMES)
@given(
    data=st.data(),
    information=st.sampled_from(["none", "cap", "prompt_length", "siblings"]),
    extra=st.lists(st.integers(0, 30), min_size=24, max_size=24),
)
@thorough
def test_l9_decisions_do_not_depend_on_lengths_that_nobody_has_seen(
    name: str, data: st.DataObject, information: str, extra: list[int]
) -> None:
    case = data.draw(cases_for(name))
    longer = np.minimum(case.output_tokens + np.array(extra[: len(case.requests)]), 64)
    room = Cluster(
        tuple(Instance(i.step_time, 4096, i.max_batch, i.max_batched_tokens, sequence=i.sequence) for i in case.cluster)
    )
    runs = [watched(Case(case.requests, o, room), quick(name), information) for o in (case.output_tokens, longer)]
    changed = longer != case.output_tokens
    first_news = min((float(run.timeline().ended[changed].min()) for run in runs), default=0) if changed.any() else np.inf
    seen = [[s for s in run.starts if s[0] < first_news] for run in runs]
    assert seen[0] == seen[1]
