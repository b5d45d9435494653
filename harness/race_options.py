"""What `pytest harness/ --benchmark` races: the options and the list of experiments they mean."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from makespan.harness.defaults import INSTANCES, LEVELS, PROFILES, REQUESTS, WORKLOAD
from makespan.harness.experiment import Cell
from makespan.harness.informations import information_name, make_information
from makespan.harness.set_up import Load, batch_limit
from makespan.harness.workload import Workload
from makespan.harness.workloads import load_workload
from makespan.runtime.profiles import load_profile
from makespan.runtime.simulated_cluster import check_fits
from makespan.schedulers.instances import Cluster
from makespan.schedulers.registry import load_policy, policies


@dataclass(frozen=True, slots=True)
class Contest:
    """One experiment by its names."""

    workload: str
    profile: str
    requests_per_slot: float
    policy: str
    information: str
    seed: int

    def __str__(self) -> str:
        name = self.workload.split("=")[0]
        source = information_name(self.information)
        words = [name, self.profile, f"{self.requests_per_slot:g}perslot", self.policy, source]
        return "-".join([*words, f"seed{self.seed}"])


@dataclass(eq=False)
class RaceOptions:
    """The options of a benchmark run, checked before anything runs.

    Parameters
    ----------
    workloads
        ``NAME`` or ``NAME=PATH``.
    policies, information
        Names; none given means every installed policy, each with the information it is meant for.
    profiles, levels, seeds
        Step-time profiles, requests per batch slot, and seeds to race all of them on.
    instances, requests
        Sizes; requests None means all.
    out
        Folder of the results.
    refused
        Whether an experiment could not be run because of what it was given, such as a policy that raises.
    """

    workloads: tuple[str, ...]
    policies: tuple[str, ...]
    information: tuple[str, ...]
    profiles: tuple[str, ...]
    levels: tuple[float, ...]
    seeds: int
    instances: int
    requests: int | None
    out: Path
    refused: bool = False

    @classmethod
    def from_options(cls, get: Any) -> "RaceOptions":
        """Build from pytest's ``config.getoption``."""
        options = cls(
            workloads=tuple(get("--workload") or [WORKLOAD]),
            policies=tuple(get("--policy") or policies.names()),
            information=tuple(get("--information") or ()),
            profiles=tuple(get("--profile") or PROFILES),
            levels=tuple(get("--requests-per-slot") or LEVELS),
            seeds=get("--seeds"),
            instances=INSTANCES if get("--instances") is None else get("--instances"),
            requests=get("--requests") or (None if get("--workload") else REQUESTS),
            out=Path(get("--out")),
        )
        options.check()
        return options

    def check(self) -> None:
        """Load every name once, so that a misspelt one ends the run before it starts."""
        if self.seeds < 1:
            raise ValueError(f"a benchmark needs at least one seed, got {self.seeds}")
        alone = [Cluster.uniform(load_profile(profile).instance(), 1) for profile in self.profiles]
        for name in self.policies:
            load_policy(name)
        for spec in self.workloads:
            workload = self.workload(spec, 0)
            for cluster in alone:
                check_fits(workload.requests, workload.output_tokens, cluster)
            for level in self.levels:
                batch_limit(len(workload), self.instances, level)
            for name in self.information:
                make_information(name, workload, 0)
        names = [information_name(spec) for spec in self.information]
        if len(set(names)) < len(names):
            raise ValueError(f"an information source must be given once, got {', '.join(self.information)}")

    @cached_property
    def _loaded(self) -> dict[tuple[str, int], Workload]:
        return {}

    @cached_property
    def _cells(self) -> dict[tuple[str, str, float, int], Cell]:
        return {}

    def workload(self, spec: str, seed: int) -> Workload:
        """Return a workload, read once."""
        if (spec, seed) not in self._loaded:
            self._loaded[spec, seed] = load_workload(spec, self.requests, seed)
        return self._loaded[spec, seed]

    def cell(self, contest: Contest) -> Cell:
        """Return the workload on its cluster; contests of one cell share it, with its bound."""
        key = (contest.workload, contest.profile, contest.requests_per_slot, contest.seed)
        if key not in self._cells:
            workload = self.workload(contest.workload, contest.seed)
            limit = batch_limit(len(workload), self.instances, contest.requests_per_slot)
            self._cells[key] = Load(contest.profile, self.instances, limit).cell(workload, contest.seed)
        return self._cells[key]

    def contests(self) -> Iterator[Contest]:
        """Yield every experiment of the run; what uses no information is raced once."""
        for spec in self.workloads:
            for profile in self.profiles:
                for level in self.levels:
                    for name in self.policies:
                        for information in self._information_of(name, spec):
                            for seed in range(self.seeds):
                                yield Contest(spec, profile, level, name, information, seed)

    def _information_of(self, policy: str, spec: str) -> tuple[str, ...]:
        """Return what a policy is raced with: what was asked for, or what it is meant for and the workload has."""
        meant_for = load_policy(policy).information
        if not meant_for:
            return ("none",)
        if self.information:
            return self.information
        has_history = self.workload(spec, 0).previous_tokens is not None
        return tuple(name for name in meant_for if name != "history" or has_history)
