"""The five parts of a policy, each one question and one method.

A part is pure: plain data in, plain data out; no clock, no input or output, randomness only from a seed it was given.
Ties are broken by `Requests.sequence` and `Instance.sequence`, never by position.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View

HOLD = -1
"""The answer of a placement for a request that stays with the dispatcher, of a rebalance for one that goes back to it."""


class Order(Protocol):
    """Which waiting request next?

    An order whose key of a request depends on nothing but columns of that request, and changes only with the estimates while
    it waits, says ``own_keys = True``: requests that come back are then sorted in without asking about the others again.
    """

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return one key for each of `rows`; smaller keys go first, shape (len(rows),)."""
        ...


class Placement(Protocol):
    """On which instance?"""

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the instance of each of `rows`, which come in order, or `HOLD`.

        The answer may be shorter than `rows`: what it does not reach is held.
        """
        ...


class Admission(Protocol):
    """May it start now?"""

    def admit(self, view: View, instance: int, rows: IntArray) -> int:
        """Return how many of `rows`, placed on `instance` and in order, may be handed to it now.

        Asked when something has changed there: a request was placed on it or one of its requests has ended.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """Requests to take elsewhere: `rows[k]` goes to `instances[k]`, and what it generated is kept.

    With `HOLD` for an instance, a request that runs or is queued goes back to the dispatcher, to be placed anew: preemption
    by the policy (Heddle, arXiv 2603.28101; vllm-ltr, arXiv 2408.15792).
    """

    rows: IntArray
    instances: IntArray

    @classmethod
    def none(cls) -> "Moves":
        """Return the empty list of moves."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing, nothing)


class Rebalance(Protocol):
    """Should a running or waiting request move?"""

    def move(self, view: View) -> Moves:
        """Return the moves to make now."""
        ...


class Issue(Protocol):
    """How many, and what of the unfinished?"""

    def abort(self, view: View) -> IntArray:
        """Return the rows to abort now; what they generated is wasted."""
        ...


@runtime_checkable
class Periodic(Protocol):
    """A rebalance or an issue that wants to be asked from time to time, though nothing has ended or arrived.

    It is asked at every multiple of `every_s` too (Laminar repacks every 5 s, arXiv 2510.12633), in simulated and in real
    time; at least `SHORTEST_PERIOD_S`.
    """

    @property
    def every_s(self) -> float:
        """Seconds."""
        ...


SHORTEST_PERIOD_S = 1e-6
