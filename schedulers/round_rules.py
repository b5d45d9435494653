"""Rules between iterations that generate and train in turn: how many prompts next, and what of the unfinished."""

from dataclasses import dataclass
from math import ceil, isfinite

import numpy as np

from makespan.schedulers.backlog import Backlog, RoundPlan
from makespan.schedulers.issues import FirstPrompts, FirstSamples


def at_least_one(factor: float, what: str) -> None:
    """Refuse an over-issue factor below 1 or without end."""
    if not (isfinite(factor) and factor >= 1):
        raise ValueError(f"{what} must be at least 1 and finite, got {factor}")


@dataclass(frozen=True, slots=True)
class Exactly:
    """Issue what a training step wants and wait for all of it: plain synchronous RL."""

    def next_round(self, backlog: Backlog) -> RoundPlan:
        """Return as many new prompts as are wanted."""
        return RoundPlan(backlog.unfinished, min(backlog.prompts, backlog.left), backlog.responses)


@dataclass(frozen=True, slots=True)
class TailBatching:
    """Short rounds that over-issue and keep who finishes first; who does not waits for a long round (RollPacker).

    When as many prompts wait as a step wants, the oldest of them make a long round without over-issue. With nothing kept
    of what was aborted, every token that is trained on is of the present weights (arXiv 2509.21009, section 4).

    Parameters
    ----------
    prompts_factor, responses_factor
        Over-issue of prompts and of responses in short rounds, at least 1; 1.25 was the best of those tried.
    """

    prompts_factor: float = 1.25
    responses_factor: float = 1.25

    def __post_init__(self) -> None:
        at_least_one(self.prompts_factor, "the over-issue of prompts")
        at_least_one(self.responses_factor, "the over-issue of responses")

    def next_round(self, backlog: Backlog) -> RoundPlan:
        """Return a long round if enough prompts wait or too few are new, else a short one."""
        waiting = backlog.open_prompts
        issue = FirstPrompts(backlog.wanted, backlog.responses)
        if len(waiting) < backlog.wanted <= backlog.left:
            fresh = min(ceil(self.prompts_factor * backlog.wanted), backlog.left)
            return RoundPlan(fresh=fresh, samples=ceil(self.responses_factor * backlog.responses), issue=issue)
        oldest = waiting[: backlog.wanted]
        rows = [np.flatnonzero(backlog.prompt == prompt)[: backlog.responses] for prompt in oldest]
        return RoundPlan(
            np.concatenate([np.empty(0, dtype=np.int64), *rows]),
            fresh=backlog.wanted - len(oldest),
            samples=backlog.responses,
            issue=issue,
        )


@dataclass(frozen=True, slots=True)
class PartialRollout:
    """Keep `factor` times the wanted prompts open, stop when enough are complete, go on with the rest first (APRIL).

    Parameters
    ----------
    factor
        Open prompts over wanted ones, at least 1; 2 as published (64 for 32, arXiv 2509.18521).
    """

    factor: float = 2.0

    def __post_init__(self) -> None:
        at_least_one(self.factor, "the over-issue of prompts")

    def next_round(self, backlog: Backlog) -> RoundPlan:
        """Return what is unfinished, oldest first, and new prompts up to the number that may be open."""
        issued = max(ceil(self.factor * backlog.prompts) - len(backlog.open_prompts), 0)
        return RoundPlan(
            backlog.unfinished,
            fresh=min(issued, backlog.left),
            samples=backlog.responses,
            issue=FirstPrompts(backlog.wanted - _complete(backlog), backlog.responses, backlog.finished_of()),
        )


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """No sample generates more than so much in one round; the rest is saved and continued (Kimi k1.5, arXiv 2501.12599).

    Every round issues the prompts of one step. A step is trained on as soon as that many are complete.

    Parameters
    ----------
    share
        Budget as a share of the cap on new tokens, above 0 and at most 1.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"a token budget must be above 0 and at most the whole cap, got {self.share} of it")

    def next_round(self, backlog: Backlog) -> RoundPlan:
        """Return what is unfinished and the prompts of one more step."""
        return RoundPlan(
            backlog.unfinished,
            fresh=min(backlog.prompts, backlog.left),
            samples=backlog.responses,
            budget=ceil(self.share * backlog.cap),
        )


@dataclass(frozen=True, slots=True)
class GroupOfBatches:
    """Load several steps' worth of prompts at once and train on whoever has finished (SortedRL, arXiv 2603.23414).

    Nothing new is loaded before all of the group has been trained on, so that nobody starves and no sample is older than
    the group. The short ones are trained on first.

    Parameters
    ----------
    batches
        Steps in a group, at least 1.
    """

    batches: int

    def __post_init__(self) -> None:
        if self.batches < 1:
            raise ValueError(f"a group must hold at least 1 batch, got {self.batches}")

    def next_round(self, backlog: Backlog) -> RoundPlan:
        """Return what is unfinished, interrupted samples first, or the next group when there is none."""
        unfinished = backlog.unfinished
        rows = unfinished[np.argsort(backlog.generated[unfinished] == 0, kind="stable")]
        fresh = 0 if len(backlog.prompt) else min(self.batches * backlog.prompts, backlog.left)
        samples = len(backlog.prompt) + fresh * backlog.responses
        wanted = min(backlog.prompts * backlog.responses, samples) - int(backlog.finished.sum())
        return RoundPlan(rows, fresh, backlog.responses, FirstSamples(wanted))


def _complete(backlog: Backlog) -> int:
    return sum(count >= backlog.responses for count in backlog.finished_of().values())
