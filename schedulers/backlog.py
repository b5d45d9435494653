"""What lies between iterations: the samples that are open, and what a rule makes of them for the next round."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from makespan.schedulers.issues import KeepAll
from makespan.schedulers.parts import Issue
from makespan.schedulers.types import BoolArray, IntArray

NEVER = -1
"""The version of a sample that has no tokens yet."""


@dataclass(frozen=True, slots=True, eq=False)
class Backlog:
    """The samples that have been issued and neither been trained on nor given up: one row each, oldest prompt first.

    Parameters
    ----------
    version
        Training steps that have ended, which is the version of the weights.
    prompts, responses
        What a training step wants: so many prompts with so many responses each.
    wanted
        Prompts of the next step; fewer at the end of an epoch, where no more are open or left.
    left
        Prompts of the epoch that have never been issued.
    trained
        Prompts trained on so far.
    slots
        Batch slots of the cluster.
    cap
        Cap on new tokens of a sample.
    prompt
        Number of the prompt of each row, in the order in which prompts are issued. Shape (m,).
    generated
        Tokens that are kept of it. Shape (m,).
    finished
        Whether it has ended and waits to be trained on. Shape (m,).
    opened
        Version at which its prompt was first issued. Shape (m,).
    """

    version: int
    prompts: int
    responses: int
    wanted: int
    left: int
    trained: int
    slots: int
    cap: int
    prompt: IntArray
    generated: IntArray
    finished: BoolArray
    opened: IntArray

    @property
    def unfinished(self) -> IntArray:
        """Rows that have yet to end, oldest prompt first."""
        return np.flatnonzero(~self.finished)

    @property
    def open_prompts(self) -> IntArray:
        """Numbers of the prompts that have rows."""
        return np.unique(self.prompt)

    def finished_of(self) -> dict[int, int]:
        """Return how many responses of each open prompt have finished, where any has."""
        prompts, counts = np.unique(self.prompt[self.finished], return_counts=True)
        return dict(zip(prompts.tolist(), counts.tolist(), strict=True))


def _none() -> IntArray:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class RoundPlan:
    """What the next round issues.

    Parameters
    ----------
    rows
        Rows of the backlog to go on with, in this order; unfinished ones.
    fresh, samples
        How many new prompts are issued after them, and with how many samples each.
    issue
        When the round stops.
    budget
        Most tokens that a sample may generate in this round, None for no limit.
    dropped
        Prompts that are given up.
    """

    rows: IntArray = field(default_factory=_none)
    fresh: int = 0
    samples: int = 0
    issue: Issue = field(default_factory=KeepAll)
    budget: int | None = None
    dropped: IntArray = field(default_factory=_none)


class Between(Protocol):
    """How many prompts next, and what of those left unfinished?"""

    def next_round(self, backlog: Backlog) -> RoundPlan:
        """Return what to issue now."""
        ...
