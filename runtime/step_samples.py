"""Measured engine steps: how long real instances took for a known batch, KV and prefill, all of them at once."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from statistics import median
from time import monotonic
from typing import Self

from makespan.runtime.instance_actor import Outcome
from makespan.runtime.instance_pool import InstanceFailed, InstancePool
from makespan.runtime.pool_news import Lost, Reported
from makespan.runtime.token_engine import FAILED, TokenRequest

Work = tuple[int, int]
"""Tokens of a prompt, and tokens to generate from it."""
REPEATS = 3
"""Measurements of one median, at most."""
PATIENCE_S = 4.0
"""What has taken so long is not measured again: on a slow engine all of it would take too long, and is less noisy."""
BESIDES = 8
"""Tokens of a request beside its context and the steps that are timed."""


@dataclass(frozen=True)
class StepSample:
    """The median duration of alike engine steps.

    Parameters
    ----------
    decodes
        Requests that generate a token each.
    kv_tokens
        Tokens of KV that all requests hold when the step ends.
    seconds
        How long it took.
    prompts, prompt_tokens
        Requests that are prefilled as well, and the tokens of each.
    """

    decodes: int
    kv_tokens: float
    seconds: float
    prompts: int = 0
    prompt_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Tokens that the step computes."""
        return self.decodes + self.prompts * self.prompt_tokens

    @property
    def pairs(self) -> float:
        """Pairs of a query and a key that prompts attend."""
        return self.prompts * self.prompt_tokens * (self.prompt_tokens + 1) / 2


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
        Batches and contexts whose product is larger are left out. Up to the most tokens of one step the prompts of a batch
        are prefilled together, so that it decodes together.
    steps
        How many decode steps are timed together.
    """

    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    contexts: tuple[int, ...] = (32, 256, 1024)
    prefills: tuple[int, ...] = (16, 64, 256, 1024)
    most_kv: int = 4096
    steps: int = 40

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

    def within(self, tokens: int) -> Self:
        """Return what of it can be measured with requests of so many tokens at most."""
        return replace(
            self,
            contexts=tuple(c for c in self.contexts if c + self.steps + BESIDES <= tokens),
            prefills=tuple(p for p in self.prefills if p + BESIDES <= tokens),
        )

    @property
    def longest(self) -> int:
        """Tokens of the longest request that is measured."""
        return max(self.contexts[-1] + self.steps, self.prefills[-1]) + BESIDES

    @property
    def decodes(self) -> list[tuple[int, int]]:
        """The batches and contexts that are measured together."""
        return [(b, c) for b in self.batches for c in self.contexts if b * c <= self.most_kv]

    @property
    def together(self) -> list[tuple[int, int]]:
        """The prompts, and tokens of each, that are prefilled in one step: what of a long prompt's time is attention."""
        most = [(min(self.prefills[-1] // tokens, self.batches[-1] - 1), tokens) for tokens in self.prefills]
        return [(prompts, tokens) for prompts, tokens in most if prompts > 1]

    def __len__(self) -> int:
        return len(self.prefills) + len(self.together) + len(self.decodes)


def powers_of_two(largest: int) -> tuple[int, ...]:
    """Return the powers of two below `largest`, and `largest`."""
    if largest < 1:
        raise ValueError(f"the largest batch must be at least 1, got {largest}")
    return (*(2**k for k in range(largest.bit_length()) if 2**k < largest), largest)


def measure_steps(pool: InstancePool, grid: Grid) -> Iterator[list[StepSample]]:
    """Time prefill steps, then decode steps with and without a prefill beside them, on all instances at once.

    What an instance takes while the others work is what it takes in a generation stage, where they share caches, memory
    and perhaps more. Times are those of the engines themselves.

    Parameters
    ----------
    pool
        Idle instances.
    grid
        What to measure.

    Yields
    ------
    list of StepSample
        One kind of step, as soon as it is measured.
    """
    bench = _Bench(pool)
    # The first steps of an engine allocate what the later ones reuse.
    bench.prefill(grid.prefills[-1])
    for tokens in grid.prefills:
        seconds = median(bench.prefill(tokens) for _ in repeats())
        yield [StepSample(0, tokens, seconds, prompts=1, prompt_tokens=tokens)]
    for prompts, tokens in grid.together:
        yield bench.prefill_together(prompts, tokens, grid.contexts[0], grid.steps)
    for batch, context in grid.decodes:
        seconds = median(bench.decode(batch, context, grid.steps) for _ in repeats())
        samples = [StepSample(batch, batch * (context + 1 + grid.steps / 2), seconds)]
        if batch < grid.batches[-1]:
            samples.append(bench.prefill_beside(batch, context, grid.steps, grid.prefills[0]))
        yield samples


def repeats() -> Iterator[int]:
    """Count measurements of one kind: once at least, and again as long as that does not take too long."""
    began = monotonic()
    for number in range(REPEATS):
        if number and monotonic() - began > PATIENCE_S:
            return
        yield number


class _Bench:
    """Gives every instance the same work at the same time."""

    def __init__(self, pool: InstancePool) -> None:
        self._pool = pool
        # Numbers that no generation stage uses.
        self._numbers = count(-2, -1)

    def prefill(self, tokens: int) -> float:
        """Return the seconds of a step that prefills one prompt; its first token is its last."""
        return median(o.first - o.scheduled for outcomes in self._run([(tokens, 1)]) for o in outcomes)

    def decode(self, batch: int, context: int, steps: int) -> float:
        """Return the mean seconds of so many steps of a batch."""
        done = self._run([(context, steps + 1)] * batch)
        return median((o.last - o.first) / steps for outcomes in done for o in outcomes)

    def prefill_beside(self, batch: int, context: int, steps: int, tokens: int) -> StepSample:
        """Return a step that prefills one prompt while a batch decodes."""
        # A short sample says by its end that the batch has begun; then one prompt follows the other.
        began = (context, 2)
        done = self._run([(context, steps + 1)] * batch + [began], then=[[(tokens, 1)]] * REPEATS)
        late = [outcome for outcomes in done for outcome in outcomes if len(outcome.tokens) == 1]
        kv = batch * (context + steps / 2) + tokens
        return StepSample(batch, kv, median(o.first - o.scheduled for o in late), prompts=1, prompt_tokens=tokens)

    def prefill_together(self, prompts: int, tokens: int, context: int, steps: int) -> list[StepSample]:
        """Return steps that prefill several prompts at once, by how many of them the engine did take into one step.

        They are given while a request decodes: an idle engine would begin with the first of them alone.
        """
        seconds: dict[int, list[float]] = defaultdict(list)
        for _ in repeats():
            for outcomes in self._run([(context, steps + 1), (context, 2)], then=[[(tokens, 1)] * prompts]):
                late = [outcome for outcome in outcomes if len(outcome.tokens) == 1]
                for (scheduled, first), taken in Counter((o.scheduled, o.first) for o in late).items():
                    seconds[taken].append(first - scheduled)
        kv = context + steps / 2
        return [
            StepSample(1, kv + n * tokens, median(took), prompts=n, prompt_tokens=tokens)
            for n, took in sorted(seconds.items())
        ]

    def _run(self, wanted: list[Work], then: list[list[Work]] | None = None) -> list[list[Outcome]]:
        """Have every instance do this work, and whenever some of it ends there, the next of `then`."""
        owners: dict[int, int] = {}

        def submit(instance: int, works: list[Work]) -> None:
            orders = [TokenRequest(next(self._numbers), _prompt(p), n, forced=True) for p, n in works]
            owners.update((order.number, instance) for order in orders)
            self._pool.submit(instance, orders)

        later = [list(then or []) for _ in range(len(self._pool))]
        done: list[list[Outcome]] = [[] for _ in range(len(self._pool))]
        for i in range(len(self._pool)):
            submit(i, wanted)
        while owners:
            for news in self._pool.wait(60.0):
                if isinstance(news, Lost):
                    raise InstanceFailed(f"instance {news.instance} was lost while it was measured: {news.reason}")
                for outcome in news.report.outcomes if isinstance(news, Reported) else ():
                    if outcome.number not in owners:
                        continue
                    if outcome.ended == FAILED:
                        raise InstanceFailed(f"a step could not be measured: {outcome.reason}")
                    i = owners.pop(outcome.number)
                    done[i].append(outcome)
                    if later[i]:
                        submit(i, later[i].pop())
        return done


def _prompt(tokens: int) -> tuple[int, ...]:
    return tuple(100 + position % 100 for position in range(tokens))
