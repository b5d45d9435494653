"""Steps that prefill under a law of their own: what they cost, what the bound may say of them, what is refused."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_engine import Job, step_ps
from strategies import Case, cases, step_times

from makespan.harness.experiment import simulate
from makespan.harness.workload import Workload
from makespan.schedulers.bounds import lower_bound
from makespan.schedulers.catalog import fifo
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.prefill_bound import base_ps, least_kv_ps, prefill_work_ps
from makespan.schedulers.prefill_step_time import PrefillStepTime
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import none
from makespan.schedulers.step_time import PICOSECONDS, StepTime
from makespan.schedulers.supporting_lines import supporting_lines


@st.composite
def batches(draw: st.DrawFn) -> tuple[Instance, list[Job]]:
    """Draw any step that the limits of an instance allow: decodes, chunks of prompts, chunks that end a prompt."""
    instance = Instance(draw(step_times()), 10**6, max_batch=draw(st.integers(1, 8)), max_batched_tokens=64)
    batch, budget = [], instance.max_batched_tokens
    for row in range(draw(st.integers(1, instance.max_batch))):
        chunk = draw(st.integers(1, max(1, min(30, budget - instance.max_batch))))
        prompt, computed = draw(st.integers(chunk, 90)), 0
        job = Job(row, prompt, 99, 0.0, row, 0)
        if draw(st.booleans()):
            job.generated, job.computed, job.scheduled = 3, prompt + 2, 1
        else:
            computed = draw(st.integers(0, prompt - chunk))
            job.computed, job.scheduled = computed, chunk
        budget -= job.scheduled
        batch.append(job)
    return instance, batch


@given(step=batches())
@settings(max_examples=500, deadline=None)
def test_no_step_is_shorter_than_the_lines_that_the_bound_is_made_of(step: tuple[Instance, list[Job]]) -> None:
    instance, batch = step
    made = [job for job in batch if job.computed + job.scheduled >= job.prompt]
    kv = sum(job.computed + job.scheduled for job in made)
    prompt_tokens = sum(job.scheduled for job in batch if job.generated == 0)
    final = sum(job.generated == 0 for job in made)
    own = instance.step_time.prefill_steps is not None
    for alpha, beta in supporting_lines(base_ps(instance)):
        [rho] = prefill_work_ps(instance, np.array([2.0 if own else 1.0]), alpha, beta)
        beside = prompt_tokens - (final if own else 0)
        floor = alpha + beta * len(made) + least_kv_ps(instance) * kv + rho * beside
        assert step_ps(instance, batch) >= floor * (1 - 1e-9)


@given(case=cases(mixed=False, max_requests=8))
@settings(max_examples=100, deadline=None)
def test_the_bound_of_a_law_of_its_own_is_not_lost(case: Case) -> None:
    """It is at least the decode work at the best throughput, which needs no word about prefill."""
    instance = case.cluster.instances[0]
    base = base_ps(instance)[1:]
    work = case.output_tokens.sum() * (base / np.arange(1, len(base) + 1)).min() / len(case.cluster) / PICOSECONDS
    assert lower_bound(case.requests, case.output_tokens, case.cluster) >= work * (1 - 1e-6)


def test_a_prompt_alone_takes_what_its_chunks_take() -> None:
    prefill = PrefillStepTime((1, 100), (0.01, 0.1), seconds_per_kv_token=1e-6, seconds_per_pair=1e-7)
    step = StepTime((1,), (0.02,), 1e-6, prefill_steps=prefill)
    cluster = Cluster.uniform(Instance(step, 4096, max_batch=4, max_batched_tokens=100), 1)
    workload = Workload("one", Requests.of([150], [10]), np.array([3]), "by hand")
    [ended] = simulate(workload, cluster, fifo, none(workload.requests)).timeline.ended
    first = 0.1 + 1e-6 * 100 + 1e-7 * 100 * 101 / 2
    second = 0.01 + 0.09 * 49 / 99 + 1e-6 * 150 + 1e-7 * (50 * 100 + 50 * 51 / 2)
    assert ended == pytest.approx(first + second + 2 * 0.02 + 1e-6 * (151 + 152), rel=1e-9)
    assert lower_bound(workload.requests, workload.output_tokens, cluster) <= ended


@given(prompts=st.lists(st.integers(1, 40), min_size=2, max_size=6), share=st.sampled_from([0.1, 0.5, 1.0]))
@settings(max_examples=100, deadline=None)
def test_uneven_contexts_cost_what_their_padding_costs(prompts: list[int], share: float) -> None:
    """All prompts are prefilled in one step and then decode together to the end, so the padding never changes."""
    even = StepTime((1,), (0.01,), 1e-6)
    count, padding = len(prompts), max(prompts) * len(prompts) - sum(prompts)
    workload = Workload("uneven", Requests.of(prompts, np.full(count, 9)), np.full(count, 5), "drawn")

    def last(step: StepTime) -> float:
        cluster = Cluster.uniform(Instance(step, 4096, max_batch=8, max_batched_tokens=1000), 1)
        return float(simulate(workload, cluster, fifo, none(workload.requests)).timeline.ended.max())

    assert last(replace(even, padded_kv_share=share)) == pytest.approx(last(even) + 4 * share * 1e-6 * padding, abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"tokens": (1,)}, "a table of prefill steps needs as many seconds as tokens, got 2 and 1"),
        ({"tokens": (8, 1)}, "token counts must increase from at least 1, got (8, 1)"),
        ({"seconds": (0.0, 1.0)}, "times of prefill steps must be positive and finite, got (0.0, 1.0)"),
        ({"seconds": (0.02, 0.01)}, "a table of prefill steps must never fall, got (0.02, 0.01)"),
        ({"seconds_per_pair": -1.0}, "seconds_per_pair must be finite and not negative, got -1.0"),
    ],
)
def test_a_law_that_cannot_be_is_refused(changes: dict[str, object], rule: str) -> None:
    with pytest.raises(ValueError, match=re.escape(rule)):
        replace(PrefillStepTime((1, 8), (0.01, 0.02)), **changes)  # type: ignore[arg-type]


def test_prefill_is_not_charged_by_two_laws_and_padding_is_a_share() -> None:
    law = PrefillStepTime((1,), (0.01,))
    with pytest.raises(ValueError, match="seconds_per_prefill_token must be 0 where prefill steps have a table"):
        StepTime((1,), (0.01,), 0.0, 1e-5, law)
    with pytest.raises(ValueError, match=r"padded_kv_share must be from 0 to 1, got 1\.5"):
        StepTime((1,), (0.01,), padded_kv_share=1.5)
