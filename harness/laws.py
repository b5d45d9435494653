"""The laws that every run must keep, checked on its timeline; DESIGN numbers in brackets."""

import numpy as np

from makespan.harness.workload import Workload
from makespan.runtime.engine import Timeline
from makespan.schedulers.instances import Cluster


class BrokenLaw(AssertionError):
    """A run did something that no correct run can do."""


def assert_laws(workload: Workload, cluster: Cluster, timeline: Timeline, lower_bound_s: float) -> None:
    """Raise `BrokenLaw` unless the run kept L1 to L4.

    - [L1] every request ended exactly once, after it had started and arrived;
    - [L2] what finished generated exactly its length, what was aborted less;
    - [L3] no instance exceeded its batch limit or its KV capacity;
    - [L4] the makespan is not below the bound; `lower_bound_s` must be that of the requests that finished.
    """
    if np.isnan(timeline.ended).any():
        raise BrokenLaw(f"L1: every request must end, got {int(np.isnan(timeline.ended).sum())} that did not")
    ran = ~np.isnan(timeline.admitted)
    early = (timeline.admitted[ran] < workload.requests.arrival[ran] - 1e-9) | (timeline.ended[ran] < timeline.admitted[ran])
    if early.any() or not ran[timeline.finished].all():
        raise BrokenLaw("L1: a request must arrive, start and end in this order, got one that does not")
    generated, output = timeline.generated, workload.output_tokens
    if (generated[timeline.finished] != output[timeline.finished]).any():
        raise BrokenLaw("L2: a finished request must have generated its whole output, got one that has not")
    if (generated[~timeline.finished] >= output[~timeline.finished]).any():
        raise BrokenLaw("L2: an aborted request must have generated less than its output, got one that has not")
    if (timeline.peak_batch > cluster.max_batch).any():
        raise BrokenLaw(f"L3: the batch limit is {cluster.max_batch.tolist()}, got {timeline.peak_batch.tolist()}")
    if (timeline.peak_blocks > cluster.kv_blocks).any():
        raise BrokenLaw(f"L3: KV capacity is {cluster.kv_blocks.tolist()} blocks, got {timeline.peak_blocks.tolist()}")
    makespan = float(timeline.ended.max())
    if makespan < lower_bound_s:
        raise BrokenLaw(f"L4: no makespan can be below {lower_bound_s} s, got {makespan} s")
