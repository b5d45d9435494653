"""The fast path: when a policy settles everything at the start, each instance is simulated by itself.

It uses the rules of `vllm_step` and `spans` but none of the event loop: no clock shared between instances, no dispatcher
call per completion. That both give the same times is law L10.
"""

import numpy as np

from makespan.runtime.compiled import compiled
from makespan.runtime.engine import Timeline
from makespan.runtime.engine_state import NEVER, Records, instance_records, request_records
from makespan.runtime.simulated_cluster import check_fits
from makespan.runtime.simulated_timeline import timeline_of
from makespan.runtime.spans import begin, finish
from makespan.runtime.vllm_step import enqueue
from makespan.schedulers.instances import Cluster
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import FloatArray, IntArray


def simulate_plan(
    cluster: Cluster,
    requests: Requests,
    output_tokens: IntArray,
    rows: IntArray,
    instances: IntArray,
    keys: FloatArray,
) -> Timeline:
    """Return the timeline of a plan that is handed over at time 0.

    Parameters
    ----------
    cluster, requests, output_tokens
        As for `SimulatedCluster`.
    rows, instances, keys
        Every request once, in the order in which they are handed over: the row, its instance, its priority key
        (smaller is earlier). Shape (n,).
    """
    check_fits(requests, output_tokens, cluster)
    request_state = request_records(requests, output_tokens)
    instance_state, tables, running = instance_records(cluster)
    request_state["key"][rows] = keys
    request_state["counter"][rows] = np.arange(len(rows))
    by_instance = np.argsort(instances, kind="stable")
    limits = np.searchsorted(instances[by_instance], np.arange(len(cluster) + 1))
    _drain_all(request_state, instance_state, running, tables, rows[by_instance], limits)
    return timeline_of(request_state, instance_state)


@compiled
def _drain_all(
    requests: Records,
    instances: Records,
    running: IntArray,
    tables: IntArray,
    rows: IntArray,
    limits: IntArray,
) -> None:
    ended = np.empty(running.shape[1], dtype=np.int64)
    generated = np.empty(len(requests), dtype=np.int64)
    for i in range(len(instances)):
        for k in range(limits[i], limits[i + 1]):
            enqueue(requests, instances, i, rows[k])
        now = 0
        while True:
            begin(requests, instances, running, tables, i, now)
            if instances[i].span_end == NEVER:
                break
            now = instances[i].span_end
            finish(requests, instances, running, tables, i, ended, 0, ended, generated)
