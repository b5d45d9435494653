"""A pool of real Ray actors around scripted engines, and what a stage on it must have given."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import scripted_engine
from ray import cloudpickle
from scripted_engine import ScriptedTokens, expected_output

from makespan.runtime.generation_service import GenerationService
from makespan.runtime.instance_pool import InstancePool
from makespan.runtime.sample import Prompt, Sample
from makespan.schedulers import catalog, sources
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.policy import Policy
from makespan.schedulers.step_time import StepTime

# Actors run in processes that do not have the folder of the tests on their path.
cloudpickle.register_pickle_by_value(scripted_engine)  # type: ignore[no-untyped-call]

MAX_BATCH = 4
INSTANCE = Instance(StepTime((1,), (0.002,), 0.0, 0.0), 1 << 20, MAX_BATCH)


@contextmanager
def scripted_pool(count: int, *, room: int = 0, hang_s: float = 60.0, step_s: float = 0.002) -> Iterator[InstancePool]:
    """Give a pool that is up."""
    pool = InstancePool(partial(ScriptedTokens, MAX_BATCH, step_s), count, room=room, hang_s=hang_s)
    try:
        pool.wait_until_live()
        yield pool
    finally:
        pool.shutdown()


def service(pool: InstancePool, policy: Policy = catalog.least_in_flight) -> GenerationService:
    """Give a service that knows nothing of lengths."""
    return GenerationService(pool, Cluster.uniform(INSTANCE, len(pool)), policy, sources.none)


def prompts(count: int, seed: int = 0) -> list[Prompt]:
    """Give distinct prompts."""
    return [Prompt((seed, number)) for number in range(count)]


def check_whole(samples: Sequence[Sample], given: Sequence[Prompt], cap: int) -> None:
    """Require every sample once (L1), and of each exactly the tokens that the engine makes of its prompt (L2)."""
    assert sorted(sample.row for sample in samples) == list(range(len(given)))
    for sample in samples:
        assert sample.tokens.tolist() == expected_output(given[sample.row].tokens, cap)
        assert sample.logprobs.tolist() == [-float(token) for token in sample.tokens]
        assert sample.complete
