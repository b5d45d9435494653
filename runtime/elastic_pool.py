"""Real instances join or leave between iterations, as StreamRL's elastic rule says (arXiv 2504.15930, section 7.3)."""

from collections.abc import Callable, Sequence

import numpy as np

from makespan.runtime.instance_pool import InstancePool
from makespan.runtime.iteration import Iteration
from makespan.runtime.stage import simulate_stage
from makespan.schedulers.elastic import ElasticRule
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import none


def adjust(pool: InstancePool, rule: ElasticRule, iteration: Iteration, generation_s: Callable[[int], float]) -> int:
    """Have one instance start or stop where the rule says so; the others go on. Returns how many there are to be.

    Parameters
    ----------
    pool
        The instances; while one is starting or leaving, nothing is decided.
    rule
        Who decides.
    iteration
        What the last iteration took of each stage.
    generation_s
        Seconds that generation takes on a number of instances.
    """
    live = np.flatnonzero(pool.live)
    if pool.changing:
        return len(live)
    wanted = rule.next_units(
        len(live),
        max(iteration.seconds * iteration.generation_busy_share, 1e-9),
        max(iteration.seconds * iteration.training_busy_share, 1e-9),
        generation_s,
    )
    free = pool.free
    if wanted > len(live) and free:
        pool.join(free[0])
    elif wanted < len(live):
        pool.leave(int(live[-1]))
    return wanted


class GenerationTime:
    """Seconds of a generation stage on a number of instances, simulated on the lengths of the last one.

    Parameters
    ----------
    instance, policy
        One instance as measured, and who dispatches.
    lengths
        Of every sample its number, prompt tokens and output tokens.
    """

    def __init__(self, instance: Instance, policy: Policy, lengths: Sequence[tuple[int, int, int]]) -> None:
        columns = np.array(lengths, dtype=np.int64)
        self._output = columns[:, 2]
        self._requests = Requests.of(columns[:, 1], columns[:, 2])
        self._instance, self._policy = instance, policy

    def __call__(self, instances: int) -> float:
        """Return the makespan on so many."""
        cluster = Cluster.uniform(self._instance, instances)
        run = simulate_stage(self._requests, self._output, cluster, self._policy, none(self._requests))
        return float(run.timeline.ended.max())
