"""One place of a pool: the actor that holds it at present, what it owes an answer to, and how long it has stood still."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any

import ray

from makespan.runtime.instance_actor import InstanceActor, Report
from makespan.runtime.token_engine import EngineFacts, TokenEngine, TokenRequest

HEARTBEAT_S = 0.5
"""Seconds after which an instance reports even if nothing has ended."""


@dataclass(slots=True)
class Seat:
    """A place that is free until an actor is put there.

    Parameters
    ----------
    start_s
        Seconds that an actor may take to start, and to take new weights.
    hang_s
        Seconds after which one that has work but makes no step, or does not answer, is taken to hang.
    """

    start_s: float
    hang_s: float
    actor: Any = None
    starting: Any = None
    reporting: Any = None
    updates: dict[Any, float] = field(default_factory=dict)
    facts: EngineFacts | None = None
    steps: int = -1
    moved: float = inf
    numbers: set[int] = field(default_factory=set)
    joined: bool = False
    leaving: bool = False

    @property
    def live(self) -> bool:
        """Whether it takes requests."""
        return self.joined and not self.leaving

    @property
    def ready(self) -> bool:
        """Whether it may take requests from now on: it has started, and has the newest weights."""
        return self.facts is not None and not self.updates and not self.joined

    @property
    def taken(self) -> bool:
        """Whether an actor is there, if only about to start."""
        return self.actor is not None

    @property
    def pending(self) -> Iterator[Any]:
        """References to the answers that are owed."""
        yield from (reference for reference in (self.starting, self.reporting) if reference is not None)
        yield from self.updates

    @property
    def allowed_s(self) -> float:
        """Seconds that it may stand still."""
        return self.hang_s if self.facts else self.start_s

    def hangs(self, now: float) -> bool:
        """Return whether it has stood still, or taken weights, for longer than it may."""
        late = now >= min(self.updates.values(), default=inf) + self.start_s
        return self.taken and (late or now >= self.moved + self.allowed_s)

    def start(self, build: Callable[[], TokenEngine], *, on_gpu: bool) -> None:
        """Put an actor there."""
        resources = {"num_gpus": 1} if on_gpu else {"num_cpus": 1}
        actor: Any = ray.remote(InstanceActor).options(max_concurrency=1000, **resources)
        self.actor = actor.remote(build, on_core=not on_gpu)
        self.starting = self.actor.start.remote()
        self.moved = monotonic()

    def started(self, facts: EngineFacts) -> None:
        """Take it that the actor is up, and ask it what is new."""
        self.starting, self.facts, self.moved = None, facts, monotonic()
        self._ask()

    def submit(self, requests: list[TokenRequest]) -> None:
        """Begin samples on it."""
        self.moved = monotonic()
        self.numbers |= {request.number for request in requests}
        self.actor.submit.remote(requests)

    def update(self, weights: Any, version: int, *, keep: bool) -> None:
        """Send it new weights."""
        self.updates[self.actor.update.remote(weights, version, keep)] = monotonic()

    def updated(self, reference: Any) -> None:
        """Take it that it has the weights of an update."""
        del self.updates[reference]
        self.moved = monotonic()

    def reported(self, report: Report) -> None:
        """Take note of what it says, and ask again."""
        self._ask()
        idle = not report.load.running + report.load.waiting and not report.progress
        self.numbers -= {outcome.number for outcome in report.outcomes}
        if report.outcomes or idle or report.updating or report.load.steps != self.steps:
            self.steps, self.moved = report.load.steps, monotonic()

    def _ask(self) -> None:
        self.reporting = self.actor.report.remote(HEARTBEAT_S)
