"""What it costs that the dispatcher hears of what happens, and is heard, a little later."""

import numpy as np
import pytest

from makespan.runtime.engine import Timeline
from makespan.runtime.stage import simulate_stage
from makespan.schedulers.catalog import fifo, pull
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import none
from makespan.schedulers.step_time import StepTime

STEP_S = 0.01
REQUESTS = Requests.of([1] * 3, [64] * 3)
LENGTHS = np.array([30, 5, 5])


def run(policy: Policy, latency_s: float, max_batch: int = 2) -> Timeline:
    instance = Instance(StepTime((1,), (STEP_S,), 0.0, 0.0), 4096, max_batch=max_batch, max_batched_tokens=64)
    cluster = Cluster.uniform(instance, 1, dispatch_latency_s=latency_s)
    return simulate_stage(REQUESTS, LENGTHS, cluster, policy, none(REQUESTS)).timeline


@pytest.mark.parametrize("latency_s", [1e-9, STEP_S / 2, STEP_S])
def test_what_is_bound_late_misses_the_step_that_begins_when_its_place_becomes_free(latency_s: float) -> None:
    timeline = run(pull, latency_s)
    assert timeline.admitted[2] - timeline.ended[1] == pytest.approx(STEP_S)
    assert run(pull, 0.0).admitted[2] == run(pull, 0.0).ended[1]


def test_what_waits_inside_an_instance_misses_nothing() -> None:
    late, at_once = run(fifo, 0.004), run(fifo, 0.0)
    np.testing.assert_allclose(late.ended, at_once.ended + 0.004)


def test_an_idle_instance_waits_for_as_long_as_the_dispatcher_takes() -> None:
    timeline = run(pull, 0.004, max_batch=1)
    order = np.argsort(timeline.admitted)
    np.testing.assert_allclose(timeline.admitted[order][1:] - timeline.ended[order][:-1], 0.004)


def test_parts_of_a_cluster_hear_as_late_as_the_whole() -> None:
    cluster = Cluster.uniform(Instance(StepTime((1,), (STEP_S,), 0.0, 0.0), 4096), 3, dispatch_latency_s=0.5)
    assert cluster.only(np.array([2, 0])).dispatch_latency_s == 0.5


@pytest.mark.parametrize("latency_s", [-1.0, 3601.0, float("nan")])
def test_a_latency_that_is_none_is_refused(latency_s: float) -> None:
    with pytest.raises(ValueError, match="dispatch_latency_s must be between 0 and 3,600, got"):
        Cluster.uniform(Instance(StepTime((1,), (STEP_S,), 0.0, 0.0), 4096), 1, dispatch_latency_s=latency_s)
