"""A real vLLM engine joins a running stage and another one leaves it: nothing is lost, and the running one goes on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
import torch
from test_real_engine import TOLERANCE, disagreement
from tiny_model import make_tiny_model

from makespan.harness.laws import assert_laws
from makespan.harness.workload import Workload
from makespan.runtime.causal_lm import load_causal_lm
from makespan.runtime.generation_service import GenerationService
from makespan.runtime.instance_pool import InstancePool
from makespan.runtime.ray_session import ray_session
from makespan.runtime.sample import Prompt, Sample
from makespan.runtime.vllm_tokens import VllmSpec, VllmTokens
from makespan.schedulers import catalog, sources
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import OUTSIDE, View

pytestmark = pytest.mark.engine

PROMPT = Prompt((9, 8, 7))
REQUESTS = 20_000
"""Far more than are generated while an engine starts; what has not begun when enough was seen is aborted."""
CAP = 160
MAX_BATCH = 4


@dataclass
class UntilEnough:
    """Lets requests start until told that it is enough."""

    enough: bool = False

    def abort(self, view: View) -> IntArray:
        """Give up what has not started and never began."""
        return np.flatnonzero((view.state == OUTSIDE) & ~view.ended & (view.generated == 0) & self.enough)


@dataclass(frozen=True)
class Moment:
    """How the pool stood when a sample ended."""

    at: float
    steps: int
    live: tuple[bool, ...]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny", tied=True)


@pytest.fixture(scope="module")
def pool(model: Path) -> Iterator[InstancePool]:
    spec = VllmSpec(model=model, max_batch=MAX_BATCH, max_tokens=400, kv_gib=0.1)
    with ray_session(cores=3):
        started = InstancePool(partial(VllmTokens, spec), 1, room=1)
        try:
            started.wait_until_live()
            yield started
        finally:
            started.shutdown()


def test_an_engine_joins_a_running_stage_and_one_leaves_it_and_nothing_is_lost(pool: InstancePool, model: Path) -> None:
    [facts, _] = pool.facts
    assert facts is not None
    cluster = Cluster.uniform(Instance(StepTime((1,), (0.005,)), facts.kv_capacity_tokens, MAX_BATCH), 2)
    issue = UntilEnough()
    serving = GenerationService(pool, cluster, replace(catalog.pull, issue=issue), sources.none)
    forced = np.random.default_rng(0).integers(40, CAP, size=REQUESTS)
    samples: list[Sample] = []
    moments: list[Moment] = []
    joined = left = 0
    for sample in serving.generate([PROMPT] * REQUESTS, cap=CAP, forced=forced):
        samples.append(sample)
        moments.append(Moment(monotonic(), pool.steps[0], tuple(pool.live)))
        on_second = sum(one.instance == 1 and one.complete for one in samples)
        if len(samples) == 2 * MAX_BATCH:
            pool.join(1)
            joined = len(moments)
        elif not left and on_second >= 2 * MAX_BATCH:
            pool.leave(0)
            left = len(moments)
        elif left and on_second >= 5 * MAX_BATCH:
            issue.enough = True

    assert pool.live == [False, True]
    assert pool.free == [0]
    assert pool.replaced == 0
    check_laws(serving, cluster, samples, forced)
    came = next(k for k, moment in enumerate(moments) if moment.live[1])
    # A whole batch and more ended on the first engine while the second one started.
    assert came - joined > MAX_BATCH
    assert {one.instance for one in samples[joined:came]} == {0}
    print("\n" + pace(moments, joined, came, left))

    # What was on the engine that left went on elsewhere behind what it had.
    assert serving.timeline is not None
    moved = [one for one in samples[left:] if serving.timeline.preemptions[one.row]]
    assert 0 < len(moved) <= MAX_BATCH
    assert {one.instance for one in moved} == {1}
    assert all(serving.timeline.recomputed[one.row] > len(PROMPT.tokens) for one in moved)
    reference = load_causal_lm(model, device=torch.device("cpu"), dtype=torch.float32)
    apart, _ = disagreement(reference, {one.row: one for one in [*moved, *samples[came : came + 4]]})
    assert apart < TOLERANCE


def check_laws(serving: GenerationService, cluster: Cluster, samples: list[Sample], forced: IntArray) -> None:
    """Require every request once, with all of its tokens or none, and no more at once than an instance takes (L1 to L3)."""
    requests = Requests.of(np.full(REQUESTS, len(PROMPT.tokens)), np.full(REQUESTS, CAP))
    assert serving.timeline is not None
    assert_laws(Workload("join", requests, forced, "drawn"), cluster, serving.timeline, 0.0)
    assert sorted(one.row for one in samples) == list(range(REQUESTS))
    for one in samples:
        assert len(one.tokens) == len(one.logprobs) == (forced[one.row] if one.complete else 0)
        assert one.complete or one.ended == "abort"


def pace(moments: list[Moment], joined: int, came: int, left: int) -> str:
    """Return the first engine's steps a second before the other one was started, while it started, and after."""

    def of(first: int, last: int) -> str:
        begin, end = moments[first], moments[last]
        pause = max(
            (b.at - a.at for a, b in zip(moments[first:last], moments[first + 1 : last + 1], strict=True)), default=0.0
        )
        rate = (end.steps - begin.steps) / (end.at - begin.at)
        return f"{rate:.0f} steps/s over {end.at - begin.at:.1f} s, at most {pause:.2f} s between two samples"

    parts = {"alone": (0, joined - 1), "while the other starts": (joined - 1, came), "side by side": (came, left - 1)}
    return "first engine: " + "; ".join(f"{name} {of(*part)}" for name, part in parts.items())
