"""Many experiments side by side: every combination of workload, policy and cluster, over cores or a Ray cluster.

An experiment is deterministic and its record a file of its own, so that neither the order of completion nor how often a
sweep was stopped shows in the results (wall times apart).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path

from makespan.harness.experiment import Cell
from makespan.harness.record import Record, key_of
from makespan.harness.set_up import Load
from makespan.harness.store import write_record
from makespan.harness.workload import Workload
from makespan.harness.workloads import load_workload
from makespan.schedulers.registry import load_policy, policies

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
    for record in map(run_one, left) if cpus == 1 and ray_address is None else _side_by_side(left, cpus, ray_address):
        write_record(record, out)
        there += 1
        progress(there, len(wanted))
    return len(left)


def run_one(one: Wanted) -> Record:
    """Run an experiment."""
    return _cell(one.place).race(one.policy, load_policy(one.policy), one.information)


def key(one: Wanted) -> str:
    """Return the file name of an experiment that has not run."""
    place = one.place
    cell = _cell(replace(place, seed=0))
    cluster = f"{place.profile}__{place.instances}x{place.max_batch}"
    return key_of(cell.workload.name, len(cell.workload), "simulated", cluster, one.policy, one.information, place.seed)


def _side_by_side(left: Sequence[Wanted], cpus: int | None, ray_address: str | None) -> Iterator[Record]:
    """Yield the records as experiments are done; those of one cell share the workload, its bound and the run of fifo."""
    if not left:
        return
    # Imported here: Ray takes a second to import, and a sweep in one process needs none of it.
    from makespan.runtime.side_by_side import side_by_side

    yield from side_by_side(run_one, left, lambda one: one.place, cores=cpus, address=ray_address)


def _informations(policy: str, asked: Sequence[str]) -> Sequence[str]:
    meant_for = load_policy(policy).information
    return (asked or meant_for) if meant_for else ("none",)


def _possible(place: Place, information: str) -> bool:
    # One seed tells for all: loading every one of them here would keep the workers waiting.
    return information != "history" or _cell(replace(place, seed=0)).workload.previous_tokens is not None


@lru_cache(maxsize=64)
def _cell(place: Place) -> Cell:
    workload = _workload(place.workload, place.requests, place.seed)
    return Load(place.profile, place.instances, place.max_batch).cell(workload, place.seed)


@lru_cache(maxsize=4)
def _workload(name: str, requests: int | None, seed: int) -> Workload:
    """Return a workload; cells that follow one another share it, and reading may take long."""
    return load_workload(name, requests, seed)
