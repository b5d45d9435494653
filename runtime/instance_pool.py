"""Instances as Ray actors: started, watched, and replaced when they die or hang."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf, nan
from operator import attrgetter
from time import monotonic
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from makespan.runtime.engine import CannotRun
from makespan.runtime.instance_actor import InstanceActor, Report
from makespan.runtime.token_engine import EngineDied, EngineFacts, TokenEngine, TokenRequest

HEARTBEAT_S = 0.5
"""Seconds after which an instance reports even if nothing has ended."""
ATTEMPTS = 3
"""Deaths for each instance, without a sample from any of them in between, after which the pool gives up."""


class InstanceFailed(CannotRun):
    """An instance cannot be started, or not again."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Instance `instance` takes requests from now on."""

    instance: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Instance `instance` is gone with all it held; another is being started in its place."""

    instance: int
    reason: str


@dataclass(frozen=True, slots=True)
class Left:
    """Instance `instance` takes no more requests, and what it holds is to be taken from it."""

    instance: int


@dataclass(frozen=True, slots=True)
class Reported:
    """Instance `instance` says what is new there."""

    instance: int
    report: Report


News = Joined | Lost | Left | Reported


@dataclass(slots=True)
class _Seat:
    """One place of the pool and the actor that holds it at present."""

    actor: Any = None
    starting: Any = None
    reporting: Any = None
    updates: dict[Any, float] = field(default_factory=dict)
    facts: EngineFacts | None = None
    steps: int = -1
    moved: float = inf
    numbers: set[int] = field(default_factory=set)
    leaving: bool = False

    @property
    def live(self) -> bool:
        return self.facts is not None and not self.leaving

    @property
    def taken(self) -> bool:
        return self.actor is not None


class InstancePool:
    """So many instances, each an actor with one engine.

    Parameters
    ----------
    build
        Makes the engine inside an actor.
    count
        How many instances at first.
    room
        How many more there is room for; `join` fills it.
    on_gpu
        Whether each takes a GPU of the Ray cluster rather than a core.
    start_s
        Seconds that an instance may take to start.
    hang_s
        Seconds after which an instance that has work but makes no step, or does not answer, is replaced.

    Raises
    ------
    InstanceFailed
        From `wait`, if an instance cannot be started three times in a row.
    """

    def __init__(
        self,
        build: Callable[[], TokenEngine],
        count: int,
        *,
        room: int = 0,
        on_gpu: bool = False,
        start_s: float = 600.0,
        hang_s: float = 60.0,
    ) -> None:
        if count < 1:
            raise ValueError(f"instances must be at least 1, got {count}")
        if room < 0:
            raise ValueError(f"room must not be negative, got {room}")
        if not hang_s > 0:
            raise ValueError(f"hang_s must be positive, got {hang_s}")
        self._build = build
        self._on_gpu = on_gpu
        self._start_s = start_s
        self._hang_s = hang_s
        self._weights: tuple[Any, int] | None = None
        self._send: tuple[Callable[[list[Any], int], Any], int] | None = None
        self._watched: dict[Any, Callable[[], None]] = {}
        self.transfer_s: list[float] = []
        self.replaced = 0
        self._deaths = 0
        self._numbered = 0
        self._proved = False
        self._left: list[int] = []
        self._seats = [_Seat() for _ in range(count + room)]
        for i in range(count):
            self._start(i)

    def __len__(self) -> int:
        return len(self._seats)

    @property
    def live(self) -> list[bool]:
        """Which instances take requests."""
        return [seat.live for seat in self._seats]

    @property
    def free(self) -> list[int]:
        """Places in which an instance may join."""
        return [i for i, seat in enumerate(self._seats) if not seat.taken]

    @property
    def changing(self) -> bool:
        """Whether some instance is starting or leaving."""
        return any(seat.taken and not seat.live for seat in self._seats)

    @property
    def facts(self) -> list[EngineFacts | None]:
        """What each engine turned out to be, once it is live."""
        return [seat.facts for seat in self._seats]

    @property
    def steps(self) -> list[int]:
        """Steps that each engine has made since it started, as of its last report."""
        return [max(0, seat.steps) for seat in self._seats]

    @property
    def updating(self) -> bool:
        """Whether some instance has yet to take the newest weights."""
        return any(seat.updates for seat in self._seats)

    def process(self, instance: int) -> int:
        """Return the process of an instance's actor on its machine, to look at or to kill; the engine is its child."""
        pid: int = ray.get(self._seats[instance].actor.pid.remote())
        return pid

    def clock_shift(self, instance: int) -> float:
        """Return the seconds by which this process's clock is ahead of an instance's, NaN for one that does not answer."""
        before = monotonic()
        try:
            there: float = ray.get(self._seats[instance].actor.clock.remote(), timeout=self._hang_s)
        except (RayActorError, GetTimeoutError):
            # It is lost, as `wait` is about to say.
            return nan
        return (before + monotonic()) / 2 - there

    def wait_until_live(self) -> None:
        """Return when every instance has started that is to be there."""
        while not all(seat.live for seat in self._seats if seat.taken and not seat.leaving):
            self.wait(self._start_s)

    def join(self, instance: int) -> None:
        """Have one more instance started, in a place that is free; `wait` says when it is there. The others go on."""
        if self._seats[instance].taken:
            raise ValueError(f"an instance must join in a free place, got {instance}, which is taken")
        self._start(instance)

    def leave(self, instance: int) -> None:
        """Have an instance stopped as soon as what it holds has been taken from it, which begins with the next `wait`."""
        seat = self._seats[instance]
        if not seat.live:
            raise ValueError(f"an instance must be live to leave, got {instance}, which is not")
        seat.leaving = True
        self._left.append(instance)
        self._stop_if_empty(instance)

    def reserve(self, count: int) -> int:
        """Return the first of so many numbers that no sample of this pool has had or will have."""
        first, self._numbered = self._numbered, self._numbered + count
        return first

    def submit(self, instance: int, requests: list[TokenRequest]) -> None:
        """Begin samples on an instance."""
        seat = self._seats[instance]
        seat.moved = monotonic()
        seat.numbers |= {request.number for request in requests}
        seat.actor.submit.remote(requests)

    def abort(self, instance: int, numbers: list[int]) -> None:
        """End samples on an instance; its report brings what they have."""
        self._seats[instance].actor.abort.remote(numbers)

    def update(self, weights: Any, version: int, *, keep: bool = True) -> None:
        """Send new weights, a reference to `PackedWeights`, to every instance, also to those that start later."""
        self._weights = (weights, version)
        for seat in filter(attrgetter("taken"), self._seats):
            seat.updates[seat.actor.update.remote(weights, version, keep)] = monotonic()

    def update_by(self, send: Callable[[list[Any], int], Any], version: int) -> None:
        """Have new weights sent to every instance by whoever has them: `send` takes actors and version, gives a reference.

        An instance that starts later has them sent anew, to all.
        """
        self._send = (send, version)
        there = [seat for seat in self._seats if seat.live]
        reference = send([seat.actor for seat in there], version)
        for seat in there:
            seat.updates[reference] = monotonic()

    def watch(self, reference: Any, then: Callable[[], None]) -> None:
        """Call `then` from within `wait` once the reference can be fetched or has failed."""
        self._watched[reference] = then

    def wait(self, timeout_s: float) -> list[News]:
        """Sleep until something is new, at most `timeout_s` seconds."""
        news: list[News] = [Left(i) for i in self._left]
        self._left = []
        timeout_s = 0.0 if news else max(0.0, min(timeout_s, self._deadline() - monotonic()))
        # One reference may stand for several instances.
        pending = list(dict.fromkeys(self._pending()))
        ready, _ = ray.wait(pending, num_returns=1, timeout=timeout_s, fetch_local=False)
        if ready:
            ready, _ = ray.wait(pending, num_returns=len(pending), timeout=0, fetch_local=False)
        for reference in ready:
            if reference in self._watched:
                self._watched.pop(reference)()
                continue
            for i, seat in enumerate(list(self._seats)):
                if reference in (seat.starting, seat.reporting) or reference in seat.updates:
                    news += self._receive(i, seat, reference)
        return news + list(self._replace_hung())

    def shutdown(self) -> None:
        """Stop every engine, then every actor."""
        stops = [seat.actor.stop.remote() for seat in self._seats if seat.live]
        ray.wait(stops, num_returns=len(stops), timeout=10) if stops else None
        for seat in filter(attrgetter("taken"), self._seats):
            ray.kill(seat.actor)

    def _pending(self) -> Iterator[Any]:
        yield from self._watched
        for seat in self._seats:
            yield from (reference for reference in (seat.starting, seat.reporting) if reference is not None)
            yield from seat.updates

    def _receive(self, i: int, seat: _Seat, reference: Any) -> list[News]:
        try:
            value = ray.get(reference)
        except RayActorError as error:
            return self._lose(i, one_line(error))
        except RayTaskError as error:
            # What has never worked is set up wrongly, and trying again would not help; nor with weights that are refused.
            if not self._proved:
                raise InstanceFailed(f"instance {i} could not be started: {one_line(error.cause)}") from error
            if not isinstance(error.cause, EngineDied):
                raise InstanceFailed(f"instance {i} could not go on: {one_line(error.cause)}") from error
            return self._lose(i, one_line(error.cause))
        if reference is seat.starting:
            seat.starting, seat.facts, seat.moved = None, value, monotonic()
            self._proved = True
            self._ask(seat)
            if self._send is not None:
                self.update_by(*self._send)
            return [Joined(i)]
        if reference in seat.updates:
            self.transfer_s.append(value)
            del seat.updates[reference]
            seat.moved = monotonic()
            return []
        self._ask(seat)
        idle = not value.load.running + value.load.waiting and not value.progress
        if value.outcomes:
            self._deaths = 0
            seat.numbers -= {outcome.number for outcome in value.outcomes}
            self._stop_if_empty(i)
        if value.outcomes or idle or value.updating or value.load.steps != seat.steps:
            seat.steps, seat.moved = value.load.steps, monotonic()
        return [Reported(i, value)]

    def _ask(self, seat: _Seat) -> None:
        seat.reporting = seat.actor.report.remote(HEARTBEAT_S)

    def _lose(self, i: int, reason: str) -> list[News]:
        seat = self._seats[i]
        ray.kill(seat.actor)
        self._deaths += 1
        if self._deaths > ATTEMPTS * len(self):
            raise InstanceFailed(f"instances must not be lost {self._deaths} times without a sample in between: {reason}")
        was_there = seat.facts is not None
        if seat.leaving:
            self._seats[i] = _Seat()
        else:
            self.replaced += 1
            self._seats[i] = _Seat()
            self._start(i)
        return [Lost(i, reason)] if was_there else []

    def _stop_if_empty(self, i: int) -> None:
        seat = self._seats[i]
        if seat.leaving and not seat.numbers:
            # The engine ends with its actor.
            ray.kill(seat.actor)
            self._seats[i] = _Seat()

    def _start(self, i: int) -> None:
        seat = self._seats[i]
        resources = {"num_gpus": 1} if self._on_gpu else {"num_cpus": 1}
        actor: Any = ray.remote(InstanceActor).options(max_concurrency=1000, **resources)
        seat.actor = actor.remote(self._build, on_core=not self._on_gpu)
        seat.starting = seat.actor.start.remote()
        seat.moved = monotonic()
        if self._weights is not None:
            seat.updates[seat.actor.update.remote(*self._weights, True)] = monotonic()

    def _deadline(self) -> float:
        taken = filter(attrgetter("taken"), self._seats)
        return min((seat.moved + (self._hang_s if seat.facts else self._start_s) for seat in taken), default=inf)

    def _replace_hung(self) -> Iterator[News]:
        now = monotonic()
        for i, seat in enumerate(self._seats):
            allowed = self._hang_s if seat.facts else self._start_s
            late = now >= min(seat.updates.values(), default=inf) + self._start_s
            if seat.taken and (late or now >= seat.moved + allowed):
                yield from self._lose(i, f"no step for {allowed:g} s")


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split())[:500] or type(error).__name__
