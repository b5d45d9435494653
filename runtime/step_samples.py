"""Measured engine steps: how long vLLM took for a known batch, KV and prefill."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from makespan.runtime.offline_engine import OfflineEngine

REPEATS = 3
"""Prefill steps of one median; they are long, so few are enough."""


@dataclass(frozen=True)
class StepSample:
    """The median duration of alike engine steps.

    Parameters
    ----------
    running
        Requests scheduled in the step.
    kv_tokens
        Tokens of KV that they hold when it ends.
    prefill_tokens
        Those of them prefilled by it.
    seconds
        How long it took.
    """

    running: int
    kv_tokens: float
    prefill_tokens: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What to measure.

    Parameters
    ----------
    batches, contexts
        Requests that decode together, and the prompt tokens of each.
    prefills
        Prompt tokens of a request that is prefilled.
    most_kv
        Batches and contexts whose product is larger are left out.
    steps
        How many decode steps give one median.
    """

    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    contexts: tuple[int, ...] = (32, 256, 1024)
    prefills: tuple[int, ...] = (64, 256, 1024)
    most_kv: int = 16_384
    steps: int = 15

    def __post_init__(self) -> None:
        for name in ("batches", "contexts", "prefills"):
            values = getattr(self, name)
            if not values or values[0] < 1 or list(values) != sorted(set(values)):
                raise ValueError(f"{name} must increase from at least 1, got {values}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        least = self.batches[-1] * self.contexts[0]
        if self.most_kv < least:
            raise ValueError(f"most_kv must admit the largest batch, {least} tokens, got {self.most_kv}")

    @property
    def decodes(self) -> list[tuple[int, int]]:
        """The batches and contexts that are measured together."""
        return [(b, c) for b in self.batches for c in self.contexts if b * c <= self.most_kv]

    def __len__(self) -> int:
        return len(self.prefills) + len(self.decodes)


def measure_steps(engine: OfflineEngine, grid: Grid) -> Iterator[list[StepSample]]:
    """Time prefill steps, then decode steps with and without a prefill beside them.

    Parameters
    ----------
    engine
        An engine without prefix caching, so that equal prompts are computed anew.
    grid
        What to measure.

    Yields
    ------
    list of StepSample
        One kind of step, as soon as it is measured.
    """
    # The first steps of an engine allocate what the later ones reuse.
    _time_prefill(engine, grid.prefills[-1])
    for tokens in grid.prefills:
        seconds = median(_time_prefill(engine, tokens) for _ in range(REPEATS))
        yield [StepSample(1, tokens, tokens, seconds)]
    for batch, context in grid.decodes:
        beside = grid.prefills[0] if batch < grid.batches[-1] else 0
        yield _decode(engine, batch, context, steps=grid.steps, beside=beside)


def _decode(engine: OfflineEngine, batch: int, context: int, *, steps: int, beside: int) -> list[StepSample]:
    names = [f"decode/{request}" for request in range(batch)]
    for name in names:
        engine.add(name, _prompt(context), cap=engine.max_tokens - context, forced=True)
    while engine.running < batch:
        engine.step()
    before = engine.kv_tokens
    seconds = median(_time_step(engine) for _ in range(steps))
    samples = [StepSample(batch, (before + batch + engine.kv_tokens) / 2, 0, seconds)]
    if beside:
        before = engine.kv_tokens
        seconds = median(_time_prefill(engine, beside) for _ in range(REPEATS))
        samples.append(StepSample(batch + 1, before + batch * (REPEATS + 1) / 2 + beside, beside, seconds))
    engine.abort(names)
    return samples


def _time_prefill(engine: OfflineEngine, tokens: int) -> float:
    # Its first token is its last, so that it leaves in the step that prefills it.
    engine.add("prefill", _prompt(tokens), cap=1, forced=True)
    return _time_step(engine)


def _time_step(engine: OfflineEngine) -> float:
    start = time.perf_counter()
    engine.step()
    return time.perf_counter() - start


def _prompt(tokens: int) -> list[int]:
    return [100 + position % 1000 for position in range(tokens)]
