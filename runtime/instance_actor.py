"""The Ray actor around one engine: it takes orders at any time and reports when there is something to say."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from makespan.runtime.engine_slots import occupy
from makespan.runtime.free_core import claim_core
from makespan.runtime.token_engine import (
    ABORTED,
    FAILED,
    EngineDied,
    EngineFacts,
    EngineLoad,
    Piece,
    TokenEngine,
    TokenRequest,
)
from makespan.runtime.weights import PackedWeights


@dataclass(slots=True)
class Outcome:
    """A sample that has ended on an instance, or been taken from it.

    Parameters
    ----------
    number
        Which.
    tokens, logprobs
        All that this instance generated of it.
    ended
        ``stop``, ``length``, ``abort`` or ``failed``.
    reason
        Why it failed; else empty.
    versions
        Weight version and first token of each stretch.
    scheduled, first, last
        Seconds of the instance's clock at which it was admitted and made its first and last token; NaN where it never did.
    preemptions
        How often it lost its KV.
    """

    number: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: str = ""
    reason: str = ""
    versions: tuple[tuple[int, int], ...] = ()
    scheduled: float = float("nan")
    first: float = float("nan")
    last: float = float("nan")
    preemptions: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What has happened on an instance since its last report.

    Parameters
    ----------
    outcomes
        Samples that have ended.
    progress
        Tokens generated so far by each sample that has some more of them than in the last report.
    load
        How the engine stands.
    updating
        Whether it is taking new weights, during which it makes no steps.
    """

    outcomes: list[Outcome]
    progress: dict[int, int]
    load: EngineLoad
    updating: bool


class InstanceActor:
    """One engine and the samples on it. All methods run on one event loop.

    Parameters
    ----------
    build
        Makes the engine.
    on_core
        Whether it is to take a core of its machine for itself; else it uses the device that Ray gives it.
    """

    def __init__(self, build: Callable[[], TokenEngine], *, on_core: bool) -> None:
        self._build = build
        self._on_core = on_core
        self._running: dict[int, Outcome] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[Outcome] = []
        self._cut: set[int] = set()
        self._progress: dict[int, int] = {}
        self._news = asyncio.Event()
        self._started = asyncio.Event()
        self._updating = 0
        self._one_update = asyncio.Lock()
        self._newest = -1
        self._died: EngineDied | None = None

    async def start(self) -> EngineFacts:
        """Start the engine and have it make one token, because the first one takes long."""
        if self._on_core:
            # Both must come before torch is imported.
            self._core = claim_core()
            if self._core is not None:
                occupy(self._core.slot)
        self._engine = self._build()
        async for _ in self._engine.generate(TokenRequest(-1, (0,), 1)):
            pass
        self._started.set()
        return self._engine.facts

    def pid(self) -> int:
        """Return the process of this actor; its engine is a child of it."""
        return os.getpid()

    async def clock(self) -> float:
        """Return the seconds of the clock by which outcomes are timed."""
        return monotonic()

    async def submit(self, requests: list[TokenRequest]) -> None:
        """Begin samples."""
        await self._started.wait()
        for request in requests:
            if request.number in self._cut:
                self._cut.discard(request.number)
                self._ended.append(Outcome(request.number, ended=ABORTED))
                self._news.set()
                continue
            self._running[request.number] = Outcome(request.number)
            task = asyncio.create_task(self._generate(request))
            # The loop itself keeps only weak references to tasks.
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def abort(self, numbers: list[int]) -> None:
        """End samples early; those that are still here are reported with what they have."""
        await self._started.wait()
        # Samples submitted just before this must reach the engine first.
        await asyncio.sleep(0)
        # Ray may deliver this before the order to begin; one that has ended never comes again.
        self._cut |= {number for number in numbers if number not in self._running}
        await self._engine.abort([number for number in numbers if number in self._running])

    async def update(self, weights: PackedWeights, version: int, keep: bool) -> float:
        """Take new weights unless newer ones were sent; returns the seconds in which the engine stood still or drained."""
        self._newest = max(self._newest, version)
        await self._started.wait()
        # While an instance starts, several updates gather; Ray may deliver them in any order.
        async with self._one_update:
            began = monotonic()
            if version < self._newest:
                return 0.0
            self._updating += 1
            try:
                await self._engine.update(weights, version, keep=keep)
            finally:
                self._updating -= 1
        return monotonic() - began

    async def transfer(self, step: str, info: dict[str, Any]) -> None:
        """Take a step of a transfer that the trainer drives."""
        await self._started.wait()
        self._updating += {"start": 1, "finish": -1}.get(step, 0)
        await self._engine.transfer(step, info)

    async def report(self, patience_s: float) -> Report:
        """Return what is new as soon as a sample has ended, or when `patience_s` is over."""
        if not self._ended and self._died is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), patience_s)
        self._news.clear()
        if self._died is not None:
            raise self._died
        outcomes, self._ended = self._ended, []
        progress, self._progress = self._progress, {}
        return Report(outcomes, progress, self._engine.load, self._updating > 0)

    async def stop(self) -> None:
        """Stop the engine."""
        if self._started.is_set():
            self._engine.shutdown()

    async def _generate(self, request: TokenRequest) -> None:
        outcome = self._running[request.number]
        try:
            async for piece in self._engine.generate(request):
                self._take(outcome, piece)
        except EngineDied as error:
            self._died = error
            self._news.set()
            return
        except Exception as error:
            # Whatever is wrong with this one sample, the others are well.
            outcome.ended, outcome.reason = FAILED, " ".join(str(error).split()) or type(error).__name__
        finally:
            del self._running[request.number]
        self._progress.pop(request.number, None)
        self._ended.append(outcome)
        self._news.set()

    def _take(self, outcome: Outcome, piece: Piece) -> None:
        outcome.tokens += piece.tokens
        outcome.logprobs += piece.logprobs
        self._progress[outcome.number] = len(outcome.tokens)
        if piece.ended:
            outcome.ended, outcome.versions, outcome.preemptions = piece.ended, piece.versions, piece.preemptions
            if outcome.tokens:
                outcome.scheduled, outcome.first, outcome.last = piece.scheduled, piece.first, piece.last
