"""An engine without a model: each token is a function of what stands before it, so that every output is known beforehand.

It is what actors hold where the thing under test is the actor, the pool or the dispatcher.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heappop, heappush
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from makespan.runtime.token_engine import EngineFacts, EngineLoad, Piece, TokenRequest
from makespan.runtime.weights import PackedWeights

END = 0


def next_token(sequence: Sequence[int]) -> int:
    """Return what follows; END about once in 24 tokens."""
    digest = blake2b(repr(list(sequence)).encode(), digest_size=2).digest()
    return 1 + digest[1] if digest[0] % 24 else END


def expected_output(prompt: Sequence[int], cap: int) -> list[int]:
    """Return the whole output of a prompt."""
    sequence = list(prompt)
    while len(sequence) - len(prompt) < cap:
        sequence.append(next_token(sequence))
        if sequence[-1] == END:
            break
    return sequence[len(prompt) :]


def cannot_start() -> "ScriptedTokens":
    """Be an engine that is set up wrongly."""
    raise ValueError("model must be a folder, got nothing")


def once_there(file: Path, max_batch: int) -> "ScriptedTokens":
    """Be an engine that takes as long to start as a file is missing."""
    while not file.exists():
        sleep(0.01)
    return ScriptedTokens(max_batch)


def dies_when_started_again(folder: Path, times: int, max_batch: int) -> "ScriptedTokens":
    """Be an engine that starts, and so many times in a row after that is killed before it is up."""
    started = len(list(folder.iterdir()))
    (folder / str(started)).touch()
    if 1 <= started <= times:
        raise ValueError("killed while it started")
    return ScriptedTokens(max_batch)


@dataclass(order=True)
class _Running:
    key: tuple[int, int]
    request: TokenRequest = field(compare=False)
    pieces: "asyncio.Queue[Piece]" = field(compare=False)
    tokens: list[int] = field(default_factory=list, compare=False)
    versions: list[tuple[int, int]] = field(default_factory=list, compare=False)
    scheduled: float = field(default=0.0, compare=False)
    first: float = field(default=0.0, compare=False)


class ScriptedTokens:
    """Makes one token for each running request in every step."""

    def __init__(self, max_batch: int = 4, step_s: float = 0.002) -> None:
        self._max_batch, self._step_s = max_batch, step_s
        self._waiting: list[_Running] = []
        self._running: dict[int, _Running] = {}
        self._version = 0
        self._count = 0
        self._steps = 0
        self._admits = True
        self._paused = asyncio.Event()
        self._paused.set()
        self._loop: asyncio.Task[None] | None = None

    facts = EngineFacts(kv_capacity_tokens=1 << 20, block_tokens=16, max_batched_tokens=1 << 20, dtype="none")

    @property
    def load(self) -> EngineLoad:
        return EngineLoad(len(self._running), len(self._waiting), 0.0, self._steps)

    async def generate(self, request: TokenRequest) -> AsyncIterator[Piece]:
        if not request.prompt:
            raise ValueError("a prompt must hold at least 1 token, got 0")
        self._loop = self._loop or asyncio.create_task(self._step_for_ever())
        self._count += 1
        mine = _Running((request.priority, self._count), request, asyncio.Queue())
        heappush(self._waiting, mine)
        while True:
            piece = await mine.pieces.get()
            yield piece
            if piece.ended:
                return

    async def abort(self, numbers: list[int]) -> None:
        for one in [*self._waiting, *self._running.values()]:
            if one.request.number in numbers:
                self._finish(one, "abort")
        self._waiting = sorted(one for one in self._waiting if one.request.number not in numbers)

    async def update(self, weights: PackedWeights, version: int, *, keep: bool) -> None:
        # As vLLM has it: one update must end before another begins.
        assert self._admits
        self._admits = False
        while self._running and not keep:
            await asyncio.sleep(self._step_s)
        self._paused.clear()
        await asyncio.sleep(self._step_s)
        self._version = version
        self._admits = True
        self._paused.set()

    async def transfer(self, step: str, info: dict[str, Any]) -> None:
        if step == "start":
            self._paused.clear()
        if step == "finish":
            self._version = int(info["version"])
            self._paused.set()

    def shutdown(self) -> None:
        if self._loop is not None:
            self._loop.cancel()

    async def _step_for_ever(self) -> None:
        while True:
            await self._paused.wait()
            while self._admits and self._waiting and len(self._running) < self._max_batch:
                one = heappop(self._waiting)
                one.scheduled = monotonic()
                self._running[one.request.number] = one
            await asyncio.sleep(self._step_s)
            if self._running:
                self._steps += 1
            for one in list(self._running.values()):
                self._make_token(one)

    def _make_token(self, one: _Running) -> None:
        token = next_token([*one.request.prompt, *one.tokens])
        one.first = one.first or monotonic()
        if not one.versions or one.versions[-1][0] != self._version:
            one.versions.append((self._version, len(one.tokens)))
        one.tokens.append(token)
        one.pieces.put_nowait(Piece((token,), (-float(token),)))
        if token == END and not one.request.forced:
            self._finish(one, "stop")
        elif len(one.tokens) == one.request.max_tokens:
            self._finish(one, "length")

    def _finish(self, one: _Running, how: str) -> None:
        self._running.pop(one.request.number, None)
        one.pieces.put_nowait(Piece((), (), how, tuple(one.versions), one.scheduled, one.first, monotonic()))
