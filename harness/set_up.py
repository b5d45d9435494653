"""From names and sizes to what is raced: the choices that the command line and the benchmarks share."""

from dataclasses import dataclass

from makespan.harness.defaults import INSTANCES, PROFILE
from makespan.harness.experiment import Cell
from makespan.harness.workload import Workload
from makespan.runtime.profiles import load_profile
from makespan.schedulers.instances import Cluster


@dataclass(frozen=True, slots=True)
class Load:
    """How a workload meets a cluster: instances of one profile, and how many requests share a batch slot."""

    profile: str = PROFILE
    instances: int = INSTANCES
    max_batch: int | None = None

    def cell(self, workload: Workload, seed: int) -> Cell:
        """Return the workload on that cluster."""
        instance = load_profile(self.profile).instance(max_batch=self.max_batch)
        return Cell(workload, Cluster.uniform(instance, self.instances), self.profile, seed)


def batch_limit(requests: int, instances: int, requests_per_slot: float) -> int:
    """Return the batch limit at which so many requests come on one slot."""
    if instances < 1:
        raise ValueError(f"a cluster needs at least one instance, got {instances}")
    if not requests_per_slot > 0:
        raise ValueError(f"requests per slot must be positive, got {requests_per_slot}")
    return max(1, round(requests / (instances * requests_per_slot)))
