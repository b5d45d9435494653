"""Processes killed or frozen at random moments: no sample is lost and none comes twice."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import ray
from ray.exceptions import RayActorError
from scripted_engine import dies_when_started_again
from stage_of_actors import MAX_BATCH, check_whole, prompts, scripted_pool, service

from makespan.runtime.instance_pool import InstanceFailed, InstancePool
from makespan.runtime.ray_session import ray_session
from makespan.runtime.sample import Prompt
from makespan.schedulers import catalog, registry

CAP = 60
TRIALS = 48


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with ray_session(cores=4):
        yield


@pytest.fixture(scope="module")
def pool(cluster: None) -> Iterator[InstancePool]:
    with scripted_pool(3) as started:
        yield started


@pytest.fixture(scope="module")
def killed() -> set[int]:
    """Which processes of the pool above the trials have killed: how many trials that were is up to who runs the tests."""
    return set()


def kill(pool: InstancePool, instance: int, killed: set[int] | None = None) -> None:
    """Kill an instance's actor unless it is being replaced just now, and keep its number."""
    with suppress(RayActorError, ProcessLookupError):
        process = pool.process(instance)
        os.kill(process, signal.SIGKILL)
        if killed is not None:
            killed.add(process)


@pytest.mark.parametrize("trial", range(TRIALS))
def test_no_sample_is_lost_or_doubled_when_instances_are_killed(pool: InstancePool, killed: set[int], trial: int) -> None:
    rng = np.random.default_rng(trial)
    # `optimal` would search for seconds at every death.
    names = [name for name in registry.policies.names() if name != "optimal"]
    policy = registry.load_policy(names[trial % len(names)])
    wanted = prompts(30, seed=trial)
    moments = set(rng.choice(28, size=2, replace=False).tolist())
    serving, samples = service(pool, policy), []
    serving.version = 10 * trial
    for sample in serving.generate(wanted, cap=CAP):
        samples.append(sample)
        if len(samples) in moments:
            if trial % 2:
                # The death falls before, into or after the taking of new weights.
                serving.update(ray.put(b"weights"), serving.version + 1, wait=False)
            kill(pool, int(rng.integers(3)), killed)
    check_whole(samples, wanted, CAP)
    assert serving.timeline is not None
    assert (serving.timeline.peak_batch <= MAX_BATCH).all()
    delivered = sum(len(sample.tokens) for sample in samples)
    assert int(serving.timeline.generated.sum()) == delivered


def test_each_that_was_killed_was_replaced_once(pool: InstancePool, killed: set[int]) -> None:
    pool.wait_until_live()
    assert pool.replaced == len(killed)
    wanted = prompts(12)
    check_whole(list(service(pool, catalog.lpt).generate(wanted, cap=CAP)), wanted, CAP)


def test_all_instances_at_once_may_die(pool: InstancePool) -> None:
    pool.wait_until_live()
    wanted, samples = prompts(24, seed=99), []
    for sample in service(pool).generate(wanted, cap=CAP):
        samples.append(sample)
        if len(samples) == 5:
            for instance in range(3):
                kill(pool, instance)
    check_whole(samples, wanted, CAP)


def test_a_poison_prompt_and_a_death_in_one_stage(pool: InstancePool) -> None:
    pool.wait_until_live()
    wanted, samples = [*prompts(16, seed=5), Prompt(())], {}
    for sample in service(pool).generate(wanted, cap=CAP):
        samples[sample.row] = sample
        if len(samples) == 4:
            kill(pool, 0)
    assert samples[16].ended == "failed"
    check_whole([samples[row] for row in range(16)], wanted[:16], CAP)


def test_a_frozen_instance_is_found_out_and_replaced(cluster: None) -> None:
    with scripted_pool(1, hang_s=2.0) as pool:
        wanted, samples = prompts(12, seed=1), []
        for sample in service(pool).generate(wanted, cap=CAP):
            samples.append(sample)
            if len(samples) == 3:
                os.kill(pool.process(0), signal.SIGSTOP)
        check_whole(samples, wanted, CAP)
        assert pool.replaced == 1


def test_an_engine_that_is_killed_while_it_starts_anew_is_started_again(cluster: None, tmp_path: Path) -> None:
    pool = InstancePool(partial(dies_when_started_again, tmp_path, 2, MAX_BATCH), 1)
    try:
        pool.wait_until_live()
        wanted, samples = prompts(12, seed=3), []
        for sample in service(pool).generate(wanted, cap=CAP):
            samples.append(sample)
            if len(samples) == 3:
                kill(pool, 0)
        check_whole(samples, wanted, CAP)
        assert pool.replaced == 3
    finally:
        pool.shutdown()


def test_an_engine_that_never_starts_anew_ends_the_run_with_its_reason(cluster: None, tmp_path: Path) -> None:
    pool = InstancePool(partial(dies_when_started_again, tmp_path, 99, MAX_BATCH), 1)
    try:
        pool.wait_until_live()
        kill(pool, 0)
        with pytest.raises(InstanceFailed, match="lost 4 times without a sample in between: killed while it started"):
            list(service(pool).generate(prompts(4), cap=CAP))
    finally:
        pool.shutdown()


def test_new_weights_reach_an_instance_that_was_replaced_meanwhile(cluster: None) -> None:
    with scripted_pool(1) as pool:
        serving, wanted, samples = service(pool), prompts(12, seed=2), []
        for sample in serving.generate(wanted, cap=CAP):
            samples.append(sample)
            if len(samples) == 3:
                serving.update(ray.put(b"weights"), 1, wait=False)
                kill(pool, 0)
        check_whole(samples, wanted, CAP)
        assert {sample.end_version for sample in samples[-2:]} == {1}
