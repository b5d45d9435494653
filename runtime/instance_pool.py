"""Instances as Ray actors: started, watched, and replaced when they die or hang."""

from collections.abc import Callable, Iterator
from math import inf, nan
from operator import attrgetter
from time import monotonic
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from makespan.runtime.engine import CannotRun
from makespan.runtime.instance_seat import Seat
from makespan.runtime.pool_news import Joined, Left, Lost, News, Reported
from makespan.runtime.token_engine import EngineDied, EngineFacts, TokenEngine, TokenRequest

ATTEMPTS = 3
"""Deaths for each instance, without a sample from any of them in between, after which the pool gives up."""


class InstanceFailed(CannotRun):
    """An instance cannot be started, or not again."""


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
        self._seats = [self._free_seat() for _ in range(count + room)]
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
        """Whether some instance that takes requests has yet to take the newest weights; none waits for one that starts."""
        return any(seat.updates for seat in self._seats if seat.live)

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
        self._seats[instance].submit(requests)

    def abort(self, instance: int, numbers: list[int]) -> None:
        """End samples on an instance; its report brings what they have."""
        self._seats[instance].actor.abort.remote(numbers)

    def update(self, weights: Any, version: int, *, keep: bool = True) -> None:
        """Send new weights, a reference to `PackedWeights`, to every instance, also to those that start later."""
        self._weights = (weights, version)
        for seat in filter(attrgetter("taken"), self._seats):
            seat.update(weights, version, keep=keep)

    def update_by(self, send: Callable[[list[Any], int], Any], version: int) -> None:
        """Have new weights sent to every instance by whoever has them: `send` takes actors and version, gives a reference.

        An instance that starts later has them sent anew, to all.
        """
        self._send = (send, version)
        there = [seat for seat in self._seats if seat.facts is not None and not seat.leaving]
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
        pending = list(dict.fromkeys((*self._watched, *(one for seat in self._seats for one in seat.pending))))
        ready, _ = ray.wait(pending, num_returns=1, timeout=timeout_s, fetch_local=False)
        if ready:
            ready, _ = ray.wait(pending, num_returns=len(pending), timeout=0, fetch_local=False)
        for reference in ready:
            if reference in self._watched:
                self._watched.pop(reference)()
                continue
            for i, seat in enumerate(list(self._seats)):
                if reference in seat.pending:
                    news += self._receive(i, seat, reference)
        return news + list(self._replace_hung())

    def shutdown(self) -> None:
        """Stop every engine, then every actor."""
        stops = [seat.actor.stop.remote() for seat in self._seats if seat.facts is not None]
        ray.wait(stops, num_returns=len(stops), timeout=10) if stops else None
        for seat in filter(attrgetter("taken"), self._seats):
            ray.kill(seat.actor)

    def _receive(self, i: int, seat: Seat, reference: Any) -> list[News]:
        try:
            value = ray.get(reference)
        except RayActorError as error:
            return self._lose(i, one_line(error))
        except RayTaskError as error:
            # What has never worked is set up wrongly, and trying again would not help; nor with weights that are refused.
            if not self._proved:
                raise InstanceFailed(f"instance {i} could not be started: {one_line(error.cause)}") from error
            # An engine that is killed while it starts anew says so in words of its own.
            if reference is not seat.starting and not isinstance(error.cause, EngineDied):
                raise InstanceFailed(f"instance {i} could not go on: {one_line(error.cause)}") from error
            return self._lose(i, one_line(error.cause))
        if reference is seat.starting:
            seat.started(value)
            self._proved = True
            if self._send is not None:
                self.update_by(*self._send)
            return self._admit(i)
        if reference in seat.updates:
            self.transfer_s.append(value)
            seat.updated(reference)
            return self._admit(i)
        seat.reported(value)
        if value.outcomes:
            self._deaths = 0
            self._stop_if_empty(i)
        return [Reported(i, value)]

    def _admit(self, i: int) -> list[News]:
        """Let an instance take requests once it has the newest weights: on older ones its samples would be too stale."""
        seat = self._seats[i]
        if not seat.ready:
            return []
        seat.joined = True
        return [Joined(i)]

    def _lose(self, i: int, reason: str) -> list[News]:
        seat = self._seats[i]
        ray.kill(seat.actor)
        self._deaths += 1
        if self._deaths > ATTEMPTS * len(self):
            raise InstanceFailed(f"instances must not be lost {self._deaths} times without a sample in between: {reason}")
        was_there = seat.joined
        if seat.leaving:
            self._seats[i] = self._free_seat()
        else:
            self.replaced += 1
            self._seats[i] = self._free_seat()
            self._start(i)
        return [Lost(i, reason)] if was_there else []

    def _stop_if_empty(self, i: int) -> None:
        seat = self._seats[i]
        if seat.leaving and not seat.numbers:
            # The engine ends with its actor.
            ray.kill(seat.actor)
            self._seats[i] = self._free_seat()

    def _start(self, i: int) -> None:
        seat = self._seats[i]
        seat.start(self._build, on_gpu=self._on_gpu)
        if self._weights is not None:
            seat.update(*self._weights, keep=True)

    def _free_seat(self) -> Seat:
        return Seat(self._start_s, self._hang_s)

    def _deadline(self) -> float:
        return min((seat.moved + seat.allowed_s for seat in self._seats if seat.taken), default=inf)

    def _replace_hung(self) -> Iterator[News]:
        now = monotonic()
        for i, seat in enumerate(self._seats):
            if seat.hangs(now):
                yield from self._lose(i, f"no step for {seat.allowed_s:g} s")


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split())[:500] or type(error).__name__
