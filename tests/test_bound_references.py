"""The lower bound, the solver and every policy beside references that share no code with them."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_exact import exact_makespan_ps, exact_stay_ps
from reference_linear_program import linear_program

from makespan.harness.experiment import simulate
from makespan.harness.generators import codemath_10k, lognormal
from makespan.harness.workload import Workload
from makespan.runtime.fast_path import simulate_plan
from makespan.runtime.profiles import load_profile
from makespan.schedulers.bounds import lower_bound
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.optimal import Optimal
from makespan.schedulers.registry import load_policy, policies
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import oracle
from makespan.schedulers.stage_plan import StagePlan
from makespan.schedulers.stay_bound import stay_bound_ps
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.view import View

Tiny = tuple[list[int], list[int], Cluster]


@st.composite
def tiny(draw: st.DrawFn, most: int = 4) -> Tiny:
    """Draw up to `most` requests of up to three tokens on two instances, alike or not."""
    count = draw(st.integers(1, most))
    prompts = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    outputs = draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    kv = draw(st.sampled_from([0.0, 1e-3]))
    instances = []
    for k in range(2):
        if k == 0 or draw(st.booleans()):
            base = sorted(draw(st.lists(st.sampled_from([0.01, 0.012, 0.015, 0.02, 0.03]), min_size=3, max_size=3)))
            step = StepTime((1, 2, 3), tuple(base), kv, draw(st.sampled_from([0.0, 1e-3])))
            made = Instance(step, 640, draw(st.integers(1, 3)), max_batched_tokens=64, sequence=k)
        instances.append(Instance(made.step_time, 640, made.max_batch, max_batched_tokens=64, sequence=k))
    return prompts, outputs, Cluster(tuple(instances))


def stage(case: Tiny) -> tuple[Workload, Cluster]:
    prompts, outputs, cluster = case
    return Workload("tiny", Requests.of(prompts, np.full(len(prompts), 8)), np.array(outputs), "drawn"), cluster


@given(case=tiny())
@settings(max_examples=40, deadline=None)
def test_the_bound_is_below_the_best_schedule_with_free_moves_and_that_below_the_best_without(case: Tiny) -> None:
    workload, cluster = stage(case)
    exact = exact_makespan_ps(*case) / 1e12
    assert lower_bound(workload.requests, workload.output_tokens, cluster) <= exact * (1 + 1e-12)
    rows = np.arange(len(workload))
    best = min(
        simulate_plan(cluster, workload.requests, workload.output_tokens, rows, np.array(where), np.array(keys)).ended.max()
        for where in product(range(2), repeat=len(rows))
        for keys in (-workload.output_tokens.astype(float),)
    )
    assert exact <= best * (1 + 1e-12)
    view = View.at_start(cluster, workload.requests, oracle(workload.output_tokens).estimate(workload.requests))
    solution = Optimal(time_limit_s=0.5).solve(view, rows)
    assert solution.bound_s <= best * (1 + 1e-9)
    assert solution.moving_bound_s <= exact * (1 + 1e-12)


@given(case=tiny(most=5))
@settings(max_examples=40, deadline=None)
def test_the_bound_without_moves_is_below_the_best_schedule_that_neither_moves_nor_interrupts(case: Tiny) -> None:
    workload, cluster = stage(case)
    view = View.at_start(cluster, workload.requests, oracle(workload.output_tokens).estimate(workload.requests))
    plan = StagePlan.of(view, np.arange(len(workload)))
    bound, exact = stay_bound_ps(plan, interrupted=False), exact_stay_ps(*case)
    assert stay_bound_ps(plan, interrupted=True) <= bound * (1 + 1e-12)
    assert bound <= exact * (1 + 1e-9)
    assert exact <= plan.ends(plan.first_fit()).max() * (1 + 1e-9)


def test_the_bound_without_moves_is_tight_where_requests_are_alike() -> None:
    # Five requests of three tokens in pairs: one instance runs two rounds, and what it saves in its steps does not make up.
    step = StepTime((1, 2), (1.0, 1.1))
    cluster = Cluster.uniform(Instance(step, 640, max_batch=2, max_batched_tokens=8), 2)
    requests = Requests.of([1] * 5, [3] * 5)
    plan = StagePlan.of(View.at_start(cluster, requests, oracle(np.full(5, 3)).estimate(requests)), np.arange(5))
    exact = exact_stay_ps([1] * 5, [3] * 5, cluster)
    assert exact == 63 * 10**11
    assert stay_bound_ps(plan, interrupted=False) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("name", [n for n in policies.names() if n != "optimal"])
@given(case=tiny())
@settings(max_examples=8, deadline=None)
def test_no_policy_beats_the_best_schedule(name: str, case: Tiny) -> None:
    workload, cluster = stage(case)
    run = simulate(workload, cluster, load_policy(name), oracle(workload.output_tokens))
    done = run.timeline.finished
    if done.all():
        assert run.timeline.ended.max() >= exact_makespan_ps(*case) / 1e12 * (1 - 1e-12)


def test_the_search_finds_what_moving_is_worth() -> None:
    # Three requests of three tokens on two instances of one slot: by McNaughton's rule 4.5 steps, in whole steps 5.
    step = StepTime((1,), (1.0,))
    cluster = Cluster.uniform(Instance(step, 160, max_batch=1, max_batched_tokens=8), 2)
    assert exact_makespan_ps([1, 1, 1], [3, 3, 3], cluster) == 5 * 10**12
    requests = Requests.of([1, 1, 1], [3, 3, 3])
    assert lower_bound(requests, np.array([3, 3, 3]), cluster) == pytest.approx(4.5)


@pytest.mark.parametrize("profile", ["streamrl-7b-h800", "llama3.1-8b-rtxpro6000"])
@pytest.mark.parametrize("generator", [codemath_10k, lognormal(1.0)])
@pytest.mark.parametrize("max_batch", [8, 24])
def test_a_linear_program_confirms_the_bound_from_above(profile: str, generator, max_batch: int) -> None:  # type: ignore[no-untyped-def]
    workload = generator(None, 48, 0)
    instance = load_profile(profile).instance(max_batch=max_batch)
    # Without KV costs charging by count is the dual of the program, and only the grid of prices separates them.
    free = instance.step_time.seconds_per_kv_token == 0
    program = linear_program(workload.requests.prompt_tokens, workload.output_tokens, instance, 2, parts=1 if free else 3)
    bound = lower_bound(workload.requests, workload.output_tokens, Cluster.uniform(instance, 2))
    assert (0.999 if free else 0.95) * program <= bound <= program * (1 + 1e-7)
