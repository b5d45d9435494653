"""What a policy sees when it decides: the present state as plain columns."""

from dataclasses import dataclass, replace

import numpy as np

from makespan.schedulers.estimates import Estimates
from makespan.schedulers.instances import BLOCK_TOKENS, Cluster
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import BoolArray, IntArray

NOWHERE = -1
"""The instance of a request that has none."""

# States of a request, in the order in which it passes through them.
OUTSIDE = 0
QUEUED = 1
RUNNING = 2
FINISHED = 3
ABORTED = 4
AWAY = 5
"""Between two turns: a tool works, and the request is on no instance."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The state of a generation stage at one moment. Columns may be live: read them, never write or keep them.

    Parameters
    ----------
    now
        Seconds since the start of the stage.
    cluster, requests, estimates
        Where, what and how long it is believed to take.
    instance
        Where each request is, or -1. Shape (n,).
    arrived, ended
        Whether each request has become known; whether it has finished or been aborted. Shape (n,).
    generated
        Tokens each request has generated, as last reported by the engine. Shape (n,).
    state
        `OUTSIDE` any instance, `QUEUED` inside one, `RUNNING`, `FINISHED`, `ABORTED`, or `AWAY` while a tool works.
        Shape (n,).
    in_flight
        Requests placed on each instance and not yet ended. Shape (N,).
    running, queued
        Those of them in the batch of the instance, and those that wait inside it; one whose KV is on its way there is
        `QUEUED` but counts only as in flight. Shape (N,).
    kv_blocks_used
        KV blocks in use. Shape (N,).
    turns_done
        Turns after which each request has called a tool. Shape (n,).
    last_instance
        The instance to which each request was handed last, -1 for never. Shape (n,).
    """

    now: float
    cluster: Cluster
    requests: Requests
    estimates: Estimates
    instance: IntArray
    arrived: BoolArray
    ended: BoolArray
    generated: IntArray
    state: IntArray
    in_flight: IntArray
    running: IntArray
    queued: IntArray
    kv_blocks_used: IntArray
    turns_done: IntArray
    last_instance: IntArray

    @classmethod
    def at_start(cls, cluster: Cluster, requests: Requests, estimates: Estimates) -> "View":
        """Return the view before anything has been placed, with every request known."""
        count, idle = len(requests), np.zeros(len(cluster), dtype=np.int64)
        return cls(
            now=0.0,
            cluster=cluster,
            requests=requests,
            estimates=estimates,
            instance=np.full(count, NOWHERE, dtype=np.int64),
            arrived=np.ones(count, dtype=np.bool_),
            ended=np.zeros(count, dtype=np.bool_),
            generated=np.zeros(count, dtype=np.int64),
            state=np.full(count, OUTSIDE, dtype=np.int64),
            in_flight=idle,
            running=idle,
            queued=idle,
            kv_blocks_used=idle,
            turns_done=np.zeros(count, dtype=np.int64),
            last_instance=np.full(count, NOWHERE, dtype=np.int64),
        )

    def only(self, instances: IntArray) -> "View":
        """Return the view of a cluster that consists of these instances alone, numbered anew in the order given."""
        number = np.full(len(self.cluster) + 1, NOWHERE, dtype=np.int64)
        number[instances] = np.arange(len(instances))
        return replace(
            self,
            cluster=self.cluster.only(instances),
            instance=number[self.instance],
            last_instance=number[self.last_instance],
            in_flight=self.in_flight[instances],
            running=self.running[instances],
            queued=self.queued[instances],
            kv_blocks_used=self.kv_blocks_used[instances],
        )

    def blocks_to_start(self, row: int) -> int:
        """Return the KV blocks that must be free for request `row` to be admitted: prompt and what it generated."""
        tokens = int(self.requests.prompt_tokens[row]) + int(self.generated[row])
        return -(-tokens // BLOCK_TOKENS)
