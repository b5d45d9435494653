"""The elastic rule on real actors: an instance joins when generation is the slower stage, and leaves when it is not."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import ray
from scripted_engine import once_there
from stage_of_actors import INSTANCE, MAX_BATCH, check_whole, prompts, scripted_pool, service

from makespan.runtime.elastic_pool import GenerationTime, adjust
from makespan.runtime.instance_pool import InstancePool
from makespan.runtime.iteration import Iteration
from makespan.runtime.ray_session import ray_session
from makespan.schedulers import catalog
from makespan.schedulers.elastic import ElasticRule

CAP = 60


@pytest.fixture(scope="module")
def pool() -> Iterator[InstancePool]:
    with ray_session(cores=5), scripted_pool(1, room=1) as started:
        yield started


def iteration(generation: float, training: float) -> Iteration:
    return Iteration("fully_async", 0, 10.0, generation, training, 0.0, 0.0, (8, 0), 0, 8, 0.0)


def halved(instances: int) -> float:
    return 10.0 / instances


def test_instances_join_and_leave_as_the_stages_differ_and_nothing_is_lost(pool: InstancePool) -> None:
    rule = ElasticRule(most=2)
    assert adjust(pool, rule, iteration(1.0, 1.0), halved) == 1
    assert pool.live == [True, False]
    assert adjust(pool, rule, iteration(1.0, 0.2), halved) == 2
    assert pool.changing
    # While it starts nothing more is decided, and the other one works.
    assert adjust(pool, rule, iteration(1.0, 0.2), halved) == 1
    check_whole(list(service(pool).generate(prompts(12), cap=CAP)), prompts(12), CAP)
    pool.wait_until_live()
    assert pool.live == [True, True]
    assert adjust(pool, rule, iteration(1.0, 0.1), halved) == 2
    check_whole(list(service(pool).generate(prompts(12), cap=CAP)), prompts(12), CAP)
    assert adjust(pool, rule, iteration(0.1, 1.0), halved) == 1
    check_whole(list(service(pool).generate(prompts(12), cap=CAP)), prompts(12), CAP)
    assert pool.live == [True, False]
    assert pool.free == [1]


def test_an_instance_that_starts_keeps_no_update_waiting_and_joins_with_the_newest_weights(
    pool: InstancePool, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    two = InstancePool(partial(once_there, gate, MAX_BATCH), 1, room=1)
    try:
        two.wait_until_live()
        gate.unlink()
        two.join(1)
        serving = service(two)
        for version in (1, 2, 3):
            # Returns although the second instance cannot start yet.
            serving.update(ray.put(b"weights"), version)
        assert two.live == [True, False]
        gate.touch()
        two.wait_until_live()
        samples = list(serving.generate(prompts(24), cap=CAP))
        check_whole(samples, prompts(24), CAP)
        assert {sample.instance for sample in samples} == {0, 1}
        assert {sample.versions for sample in samples} == {((3, 0),)}
    finally:
        two.shutdown()


def test_more_instances_are_expected_to_be_faster() -> None:
    lengths = [(k, 10, 20 + 7 * k) for k in range(24)]
    expected = GenerationTime(INSTANCE, catalog.lpt, lengths)
    assert expected(1) > expected(2) > expected(4) >= (20 + 7 * 23) * 0.002
