"""Shares of equal finish: near the bound where all fit at once, least tokens where they do not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from makespan.harness.generators import codemath_10k
from makespan.runtime.engine import Timeline
from makespan.runtime.profiles import load_profile
from makespan.runtime.specifications import load_gpu, load_model
from makespan.runtime.stage import simulate_stage
from makespan.schedulers import catalog
from makespan.schedulers.bounds import lower_bound
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.layout import Layout
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.roofline import Efficiency, generation_instance
from makespan.schedulers.sources import oracle
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.testing import check_policy
from makespan.schedulers.view import View

INSTANCE = Instance(StepTime((1, 64), (0.01, 0.04)), 10**7, max_batch=64)


def view_of(lengths: list[int], instance: Instance, count: int) -> View:
    requests = Requests.of(np.full(len(lengths), 1), np.full(len(lengths), max(lengths)))
    return View.at_start(
        Cluster.uniform(instance, count), requests, oracle(np.array(lengths, dtype=np.int64)).estimate(requests)
    )


@pytest.mark.parametrize("policy", [catalog.equal_finish, catalog.groups_in_turn])
def test_it_passes_the_conformance_check(policy) -> None:  # type: ignore[no-untyped-def]
    check_policy(policy)


@given(lengths=st.lists(st.integers(1, 5000), min_size=1, max_size=100), count=st.integers(2, 5))
def test_every_instance_holds_longer_requests_than_the_next(lengths: list[int], count: int) -> None:
    rows = np.arange(len(lengths))
    where = catalog.equal_finish.placement.place(view_of(lengths, INSTANCE, count), rows)
    tokens = np.array(lengths)
    for k in range(count - 1):
        here, later = tokens[where == k], tokens[where > k]
        assert not len(here) or not len(later) or here.min() >= later.max()


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=10), seed=st.integers(0, 9))
@settings(max_examples=60)
def test_no_other_contiguous_cut_ends_earlier_by_its_own_model(lengths: list[int], seed: int) -> None:
    # Simulated: with no KV cost and no limits the closed form is the truth but for rounding of tokens to steps.
    requests = Requests.of(np.full(len(lengths), 1), np.full(len(lengths), 64))
    outputs, cluster = np.array(lengths, dtype=np.int64), Cluster.uniform(INSTANCE, 2)
    order = np.argsort(-outputs, kind="stable")
    step = INSTANCE.step_time

    def finish(tokens: np.ndarray) -> float:
        ends = np.append(tokens, 0)
        return sum(float(step(k + 1)) * float(ends[k] - ends[k + 1]) for k in range(len(tokens)))

    cuts = [max(finish(outputs[order[:c]]), finish(outputs[order[c:]])) for c in range(len(lengths) + 1)]
    run = simulate_stage(requests, outputs, cluster, catalog.equal_finish, oracle(outputs))
    assert float(run.timeline.ended.max()) == pytest.approx(min(cuts), rel=1e-6)


def test_with_true_lengths_it_ends_within_a_twentieth_of_the_bound_and_algorithm_2_does_not() -> None:
    workload = codemath_10k(None, 1024, 0)
    cluster = Cluster.uniform(load_profile("streamrl-7b-h800").instance(max_batch=256), 16)
    bound = lower_bound(workload.requests, workload.output_tokens, cluster)
    ended = {
        name: simulate_stage(
            workload.requests, workload.output_tokens, cluster, policy, oracle(workload.output_tokens)
        ).timeline.ended.max()
        for name, policy in (("equal_finish", catalog.equal_finish), ("skew_aware", catalog.skew_aware))
    }
    assert ended["equal_finish"] <= 1.05 * bound
    assert ended["skew_aware"] > ended["equal_finish"]


@pytest.mark.parametrize(
    "instance",
    [Instance(StepTime((1,), (0.01,)), 10**7, max_batch=4), Instance(StepTime((1,), (0.01,)), 2048, max_batch=64)],
)
def test_where_slots_or_kv_cannot_hold_all_least_tokens_decides(instance: Instance) -> None:
    view = view_of([2000, 1500, 900, 800, 700, 600, 500, 400, 300], instance, 2)
    rows = np.arange(9)
    expected = catalog.lpt.placement.place(view, rows)
    assert (catalog.equal_finish.placement.place(view, rows) == expected).all()


def test_groups_stay_together_and_go_in_turn() -> None:
    requests = Requests.of(np.full(9, 1), np.full(9, 8), group=[7, 7, 3, 3, 3, 5, 5, 1, 1])
    view = View.at_start(Cluster.uniform(INSTANCE, 3), requests, oracle(np.full(9, 8)).estimate(requests))
    where = catalog.groups_in_turn.placement.place(view, np.arange(9))
    assert where.tolist() == [0, 0, 1, 1, 1, 2, 2, 0, 0]


def test_of_two_sites_the_faster_hardware_gets_the_longest_requests_and_more_work() -> None:
    seven, lengths = load_model("qwen2.5-7b"), np.sort(codemath_10k(None, 256, 0).output_tokens)
    kinds = [
        generation_instance(seven, load_gpu(g), Layout(), Efficiency(), site=s)
        for g, s in (("H800", "home"), ("H20", "cloud"))
    ]
    mixed = Cluster(tuple(replace(kinds[k % 2], sequence=k) for k in range(6)))
    assert mixed.sites == {"home": 3, "cloud": 3}
    assert mixed.price_per_hour == pytest.approx(3 * (2.85 + 1.0) / 8)
    requests = Requests.of(np.full(256, 250), np.full(256, 10_000))

    def run(policy: Policy, cluster: Cluster) -> Timeline:
        return simulate_stage(requests, lengths, cluster, policy, oracle(lengths)).timeline

    timeline = run(catalog.equal_finish, mixed)
    bound = lower_bound(requests, lengths, mixed)
    assert bound <= timeline.ended.max() < run(catalog.lpt, mixed).ended.max()
    # An H20 decodes one request faster: it has the longest.
    assert mixed.instances[timeline.instance[lengths.argmax()]].site == "cloud"
    # Renaming the sites and shuffling the instances changes nothing but names.
    shuffled = Cluster(tuple(replace(i, site=i.site[::-1]) for i in mixed.instances[::-1]))
    assert (run(catalog.equal_finish, shuffled).ended == timeline.ended).all()
