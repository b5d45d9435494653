"""What an instance's actor needs from the engine inside it, and what passes between them and the driver."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from makespan.runtime.weights import PackedWeights

FAILED = "failed"
ABORTED = "abort"


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One sample to generate, or the rest of one.

    Parameters
    ----------
    number
        Which; distinct among those under way.
    prompt
        Token ids, with what was generated before it was moved.
    max_tokens
        Most new tokens; exactly so many where `forced`.
    priority
        A smaller one is admitted earlier; ties in the order of submission.
    temperature, seed
        Of the sampling.
    forced
        Whether the end-of-sequence token is ignored, to replay a known length.
    """

    number: int
    prompt: tuple[int, ...]
    max_tokens: int
    priority: int = 0
    temperature: float = 1.0
    seed: int | None = None
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more tokens of a sample. The last piece says why it ended, and when and under which weights it was made.

    Parameters
    ----------
    tokens, logprobs
        Token ids and the log-probability of each under the weights and temperature that drew it.
    ended
        Empty while there is more to come; else ``stop``, ``length`` or ``abort``.
    versions
        Of the last piece: the weight version under which each stretch of tokens was made and the stretch's first token.
    scheduled, first, last
        Of the last piece: seconds of the monotonic clock at which it was admitted and made its first and last token.
    preemptions
        Of the last piece: how often it lost its KV.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    ended: str = ""
    versions: tuple[tuple[int, int], ...] = ()
    scheduled: float = 0.0
    first: float = 0.0
    last: float = 0.0
    preemptions: int = 0


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """How an engine stands: requests running and waiting, share of the KV in use, steps taken since it started."""

    running: int = 0
    waiting: int = 0
    kv_share: float = 0.0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine turned out to be: KV tokens that fit, tokens of a block, most tokens of a step, number format."""

    kv_capacity_tokens: int
    block_tokens: int
    max_batched_tokens: int
    dtype: str


class EngineDied(RuntimeError):
    """The engine is gone; what it held is lost."""


class TokenEngine(Protocol):
    """An engine that streams tokens. One event loop calls it."""

    @property
    def facts(self) -> EngineFacts:
        """What it turned out to be."""
        ...

    @property
    def load(self) -> EngineLoad:
        """How it stands."""
        ...

    def generate(self, request: TokenRequest) -> AsyncIterator[Piece]:
        """Generate a sample.

        Raises
        ------
        EngineDied
            If the engine is gone.
        ValueError
            If this request cannot be served; the engine is well.
        """
        ...

    async def abort(self, numbers: list[int]) -> None:
        """End samples early: each stream gives what it has and ends."""
        ...

    async def update(self, weights: PackedWeights, version: int, *, keep: bool) -> None:
        """Take new weights; what runs is kept frozen meanwhile and goes on, or else is finished first."""
        ...

    async def transfer(self, step: str, info: dict[str, Any]) -> None:
        """Take a step of a transfer between devices: ``join``, ``start``, ``receive``, ``finish`` or ``leave``."""
        ...

    def shutdown(self) -> None:
        """Stop it and everything it started."""
        ...
