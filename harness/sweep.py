"""Many experiments side by side: every combination of workload, policy and cluster, over cores or a Ray cluster.

An experiment is deterministic and its record a file of its own, so that neither the order of completion nor how often a
sweep was stopped shows in the results (wall times apart).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, product
from pathlib import Path

from makespan.harness.experiment import Cell
from makespan.harness.record import Record, key_of
from makespan.harness.set_up import Load
from makespan.harness.store import write_record
from makespan.harness.workload import Workload
from makespan.harness.workloads import load_workload
from makespan.schedulers.registry import load_policy, policies

PART = 16
"""Experiments of one cell that travel to a worker together: they share the workload, its bound and the run of fifo."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A workload on a cluster, by names: the cell that experiments share."""

    workload: str
    requests: int | None
    seed: int
    profile: str
    instances: int
    max_batch: int


@dataclass(frozen=True, slots=True, order=True)
class Wanted:
    """One experiment by its names."""

    place: Place
    policy: str
    information: str


def combinations(
    workloads: Sequence[str],
    chosen: Sequence[str],
    information: Sequence[str],
    profiles: Sequence[str],
    instances: Sequence[int],
    max_batch: Sequence[int],
    *,
    seeds: int = 1,
    requests: int | None = None,
) -> list[Wanted]:
    """Return every combination once. Without `chosen` all policies but ``optimal`` run; what uses no information runs once.

    Raises
    ------
    ValueError, UnknownName
        For a name or a size that does not exist, before anything has run.
    """
    if seeds < 1:
        raise ValueError(f"a sweep needs at least one seed, got {seeds}")
    names = chosen or [name for name in policies.names() if name != "optimal"]
    pairs = [(name, known) for name in names for known in _informations(name, information)]
    places = [
        Place(workload, requests, seed, profile, count, batch)
        for workload, seed, profile, count, batch in product(workloads, range(seeds), profiles, instances, max_batch)
    ]
    for place in places:
        if place.seed == 0:
            _cell(place)
    return sorted({Wanted(place, *pair) for place in places for pair in pairs if _possible(place, pair[1])})


def run_sweep(
    wanted: Sequence[Wanted],
    out: Path,
    *,
    cpus: int | None = None,
    ray_address: str | None = None,
    progress: Progress = lambda done, total: None,
) -> int:
    """Run what has no record in `out` yet; returns how many that were.

    Parameters
    ----------
    wanted
        Experiments.
    out
        Folder of the results.
    cpus
        Processes side by side; None for one per core. With 1 everything runs in this process.
    ray_address
        A Ray cluster to run on, on which the paths of workloads must lead to the same files.
    progress
        Called with how many are there and how many are wanted.
    """
    if cpus is not None and cpus < 1:
        raise ValueError(f"a sweep needs at least one processor, got {cpus}")
    left = [one for one in wanted if not (out / "records" / f"{key(one)}.json").exists()]
    there = len(wanted) - len(left)
    progress(there, len(wanted))
    cells = [list(group) for _, group in groupby(left, lambda one: one.place)]
    parts = [cell[k : k + PART] for cell in cells for k in range(0, len(cell), PART)]
    results = map(run_part, parts) if cpus == 1 and ray_address is None else _side_by_side(parts, cpus, ray_address)
    for records in results:
        for record in records:
            write_record(record, out)
        there += len(records)
        progress(there, len(wanted))
    return len(left)


def run_part(part: Iterable[Wanted]) -> list[Record]:
    """Run some experiments one after the other."""
    return [_cell(one.place).race(one.policy, load_policy(one.policy), one.information) for one in part]


def key(one: Wanted) -> str:
    """Return the file name of an experiment that has not run."""
    place = one.place
    cell = _cell(Place(place.workload, place.requests, 0, place.profile, place.instances, place.max_batch))
    cluster = f"{place.profile}__{place.instances}x{place.max_batch}"
    return key_of(cell.workload.name, len(cell.workload), "simulated", cluster, one.policy, one.information, place.seed)


def _side_by_side(parts: Sequence[Sequence[Wanted]], cpus: int | None, ray_address: str | None) -> Iterator[list[Record]]:
    """Yield the records of each part as it is done."""
    # Imported here: starting Ray takes seconds, and a sweep in one process needs none of it.
    import ray

    from makespan.runtime.ray_session import ray_session

    if not parts:
        return
    with ray_session(ray_address, cores=cpus):
        remote = ray.remote(num_cpus=1)(run_part)
        under_way = [remote.remote(part) for part in parts]
        while under_way:
            done, under_way = ray.wait(under_way)
            for reference in done:
                yield ray.get(reference)


def _informations(policy: str, asked: Sequence[str]) -> Sequence[str]:
    meant_for = load_policy(policy).information
    return (asked or meant_for) if meant_for else ("none",)


def _possible(place: Place, information: str) -> bool:
    return information != "history" or _cell(place).workload.previous_tokens is not None


@lru_cache(maxsize=64)
def _cell(place: Place) -> Cell:
    workload = _workload(place.workload, place.requests, place.seed)
    return Load(place.profile, place.instances, place.max_batch).cell(workload, place.seed)


@lru_cache(maxsize=4)
def _workload(name: str, requests: int | None, seed: int) -> Workload:
    """Return a workload; cells that follow one another share it, and reading may take long."""
    return load_workload(name, requests, seed)
