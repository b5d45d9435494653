"""How long an instance waits for the dispatcher's answer to what has happened on it."""

from statistics import median

import numpy as np

from makespan.runtime.dispatcher import Dispatcher
from makespan.runtime.instance_pool import InstancePool
from makespan.runtime.profiles import Profile
from makespan.runtime.real_cluster import RealCluster
from makespan.runtime.sample import Prompt
from makespan.runtime.sampling import Sampling
from makespan.schedulers.catalog import pull
from makespan.schedulers.instances import Cluster
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import none

TURNS = 16
"""Answers of which the median is taken, on each instance."""
TOKENS = 2
"""Of each prompt and output: a step that takes long would be waited for as well."""


def measured_latency(pool: InstancePool, profile: Profile) -> float:
    """Return the median seconds between the last token of a sample and the start of the one that is sent for it.

    Each instance has one sample at a time, so that it is idle when the next one comes; where others run, the next one also
    waits for the end of their step.

    Parameters
    ----------
    pool
        Idle instances.
    profile
        What they are.
    """
    count = TURNS * len(pool)
    prompts = [Prompt(tuple(range(1, TOKENS + 1))) for _ in range(count)]
    lengths = np.full(count, TOKENS, dtype=np.int64)
    requests = Requests.of(lengths, lengths)
    cluster = Cluster.uniform(profile.instance(max_batch=1), len(pool))
    real = RealCluster(pool, cluster, requests, prompts, sampling=Sampling(forced=lengths))
    Dispatcher(requests, real, pull, none(requests)).run()
    timeline = real.timeline()
    waits: list[float] = []
    for i in range(len(pool)):
        mine = np.flatnonzero(timeline.instance == i)
        mine = mine[np.argsort(timeline.admitted[mine])]
        waits += (timeline.admitted[mine[1:]] - timeline.ended[mine[:-1]]).tolist()
    return max(median(waits), 0.0)
