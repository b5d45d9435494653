"""What `pytest harness/ --benchmark --engine vllm` races: the options and the list of runs they mean."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from makespan.harness.defaults import WORKLOAD
from makespan.harness.informations import make_information
from makespan.harness.record import Record
from makespan.harness.set_up import batch_limit
from makespan.harness.workload import Workload
from makespan.harness.workloads import load_workload
from makespan.runtime.engine_slots import default_slots
from makespan.schedulers.registry import load_policy, policies

FORCED = "vllm-forced"
FREE = "vllm-free"
REQUESTS = 40
LONGEST = 1024
"""Tokens of the longest output, to which all are shrunk alike, unless a cap is given at which they are cut."""
MINUTES = 17.0
"""How long everything may take, measuring the engines beforehand included, but for the last run."""
PER_SLOT = 2.5
REPETITIONS = 3
FREE_REPETITIONS = 1
"""Free runs differ in what is generated, so that repeating them says little about policies."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Seconds from the start of the engines to the end of so many runs."""

    seconds: float
    runs: int

    def run_s(self, spent_s: float) -> float:
        """Return how long a run may take after so many seconds; half of the time is theirs, however slow the rest is."""
        return max(self.seconds - spent_s, self.seconds / 2) / self.runs


@dataclass(frozen=True, slots=True)
class RealContest:
    """One run by its names."""

    engine: str
    policy: str
    information: str
    repetition: int

    def __str__(self) -> str:
        return f"{self.engine}-{self.policy}-{self.information}-{self.repetition}"


@dataclass(frozen=True, kw_only=True)
class RealOptions:
    """The options of a benchmark on real engines, checked before anything starts.

    Parameters
    ----------
    workload
        ``NAME`` or ``NAME=PATH``.
    policies, information
        Names; none given means every installed policy, with the best information that it is meant for.
    instances, requests, requests_per_slot, repetitions, seed
        Sizes.
    cap
        Tokens at which outputs are cut off; None to shrink all of them alike.
    minutes
        How long everything may take: outputs are shrunk so that it does, and what then still does not fit is left out.
        None for as long as it takes.
    model
        A Hugging Face model folder; None for SmolLM2-135M.
    ray_address
        A Ray cluster; None for this machine.
    out
        Folder of the results.
    """

    workload: str
    policies: tuple[str, ...]
    information: tuple[str, ...]
    instances: int
    requests: int
    cap: int | None
    minutes: float | None
    requests_per_slot: float
    repetitions: int
    seed: int
    model: Path | None
    ray_address: str | None
    out: Path

    @classmethod
    def from_options(cls, get: Any) -> "RealOptions":
        """Build from pytest's ``config.getoption``."""
        workloads = get("--workload") or [WORKLOAD]
        if len(workloads) > 1:
            raise ValueError(f"--engine vllm races on one --workload at a time, got {len(workloads)}")
        levels = get("--requests-per-slot") or [PER_SLOT]
        if len(levels) > 1:
            raise ValueError(f"--engine vllm races at one --requests-per-slot at a time, got {len(levels)}")
        options = cls(
            workload=workloads[0],
            policies=tuple(get("--policy") or policies.names()),
            information=tuple(get("--information") or ()),
            instances=get("--instances") or len(default_slots()),
            requests=get("--requests") or REQUESTS,
            cap=get("--cap"),
            minutes=get("--minutes") if get("--cap") is None else None,
            requests_per_slot=levels[0],
            repetitions=get("--repetitions"),
            seed=0,
            model=Path(get("--model")) if get("--model") else None,
            ray_address=get("--ray-address"),
            out=Path(get("--out")),
        )
        options.check()
        return options

    def check(self) -> None:
        """Load every name once, so that a misspelt one ends the run before it starts."""
        if self.repetitions < 1:
            raise ValueError(f"--repetitions must be at least 1, got {self.repetitions}")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"--minutes must be positive, got {self.minutes}")
        if self.model is not None and not (self.model / "config.json").is_file():
            raise FileNotFoundError(f"--model must be a Hugging Face folder with a config.json, got {self.model}")
        workload = self.load()
        batch_limit(len(workload), self.instances, self.requests_per_slot)
        for contest in self.contests():
            make_information(contest.information, workload, self.seed)

    def load(self) -> Workload:
        """Read the workload, cut at the cap or shrunk to what real engines are asked for at most."""
        workload = load_workload(self.workload, self.requests, self.seed)
        if self.cap is not None:
            return workload.shortened(self.cap)
        return workload.shrunk(min(1.0, LONGEST / int(workload.requests.max_new_tokens.max())))

    @property
    def budget(self) -> Budget | None:
        """How long everything may take, None for as long as it takes."""
        return None if self.minutes is None else Budget(self.minutes * 60, len(list(self.contests())))

    @property
    def max_batch(self) -> int:
        """Batch limit of an instance."""
        return batch_limit(self.requests, self.instances, self.requests_per_slot)

    def contests(self) -> Iterator[RealContest]:
        """Yield every run; each repetition begins with another policy, so that none is always measured first.

        Every policy has had a run of either kind before any has a second one: where time is short, those are left out.
        """
        rounds = [(k, FORCED, self.repetitions) for k in range(self.repetitions)]
        rounds += [(k, FREE, FREE_REPETITIONS) for k in range(FREE_REPETITIONS)]
        for repetition, engine, repetitions in sorted(rounds, key=itemgetter(0)):
            first = repetition * len(self.policies) // repetitions
            for name in self.policies[first:] + self.policies[:first]:
                yield RealContest(engine, name, self._information_of(name, engine), repetition)

    def never_run(self, records: Iterable[Record]) -> list[str]:
        """Return the policies of which there is no record."""
        made = {record.policy for record in records}
        return [name for name in self.policies if name not in made]

    def _information_of(self, policy: str, engine: str) -> str:
        """Return the best information that a policy is meant for; nobody knows how a model will end, so no oracle then."""
        wanted = self.information or load_policy(policy).information or ("none",)
        known = [name for name in wanted if engine == FORCED or "oracle" not in name]
        return known[-1] if known else "history"
