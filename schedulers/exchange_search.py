"""Exchanging requests between two instances at a time until no end stands out: simulated annealing on exact ends.

First fit looks at one request at a time and leaves one or two per cent: it fills an instance with the longest that still
fits where shorter ones would have let all ends fall. What is minimised here is not the last end alone, which most
exchanges leave as it is, but a mean that grows steeply with each end, ``sum_i exp(sharpness * (end_i / last - 1))``.
Worse plans are taken with Metropolis's probability (Kirkpatrick, Gelatt, Vecchi, Science 1983), at a temperature
that falls to 0. The constants come from trials on 512 requests of `codemath_10k` with seeds 1 to 3; none of those tried was
best throughout.
"""

from bisect import bisect, insort
from dataclasses import dataclass
from math import exp
from random import Random

import numpy as np

from makespan.schedulers.instance_end import more_ps
from makespan.schedulers.stage_plan import StagePlan
from makespan.schedulers.types import IntArray

# At 100 an end that is 1 % later counts 2.7 times as much: the first and the last sharpness.
_BLUNT = 100.0
_SHARP = 300.0
# The first temperature: about the rise of the last end, as a share of it, that is taken with probability 1 / e.
_TEMPERATURE = 1e-3
# A request is exchanged for one of about its length, at most so many places before or behind it.
_NEAR = 4
# Some are exchanged for some, at most so many on either side.
_FEW = 3
# One is made up for by several, chosen among so many.
_MANY = 24


@dataclass(frozen=True, slots=True)
class ExchangeSearch:
    """How a plan is improved.

    Parameters
    ----------
    tries
        Exchanges to be tried; a limit on work and not on time, so that the same seed gives the same plan (law L6).
    seed
        Of the draws.
    """

    tries: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tries < 0:
            raise ValueError(f"tries must not be negative, got {self.tries}")

    def improve(self, plan: StagePlan, where: IntArray, enough_ps: float = 0.0) -> IntArray:
        """Return the plan with the least last end that was come by, at worst `where`.

        Parameters
        ----------
        plan
            What is to be placed; what is already on an instance stays there.
        where
            A plan to start from, shape (n,).
        enough_ps
            The search ends when all instances end by then.
        """
        instances = len(plan.cluster)
        if instances < 2 or not (plan.fixed < 0).any():
            return where
        end_of = plan.instance_ends()
        free = (plan.fixed < 0).tolist()
        # About what each request makes any instance later.
        cost = (plan.besides() + np.outer([more_ps(i).mean() for i in plan.cluster], plan.lengths)).mean(axis=0).tolist()
        rows = [np.flatnonzero(where == i).tolist() for i in range(instances)]
        ends = [end(mine) for end, mine in zip(end_of, rows, strict=True)]
        last = max(ends)
        best = [list(mine) for mine in rows]
        draw = Random(self.seed)
        for made in range(self.tries):
            if last <= enough_ps:
                break
            here = ends.index(max(ends)) if draw.random() < 0.5 else draw.randrange(instances)
            there = (here + 1 + draw.randrange(instances - 1)) % instances
            gone, come = _exchange(draw, rows[here], rows[there], cost)
            if not all(free[k] for k in gone + come):
                continue
            tried = [_replaced(rows[here], gone, come), _replaced(rows[there], come, gone)]
            after = [end_of[here](tried[0]), end_of[there](tried[1])]
            part = made / self.tries
            sharpness = _BLUNT * (_SHARP / _BLUNT) ** part
            before = [ends[here], ends[there]]
            worse = sum([_weight(end / last, sharpness) for end in after])
            worse -= sum([_weight(end / last, sharpness) for end in before])
            temperature = _TEMPERATURE * (1 - part) ** 2
            if worse > 0 and draw.random() >= exp(-worse / temperature):
                continue
            rows[here], rows[there] = tried
            ends[here], ends[there] = after
            if (now := max(ends)) < last:
                last, best = now, list(rows)
        placed = where.copy()
        for i, mine in enumerate(best):
            placed[mine] = i
        return placed


def _weight(end: float, sharpness: float) -> float:
    """Return what an end counts that is so many times the last; a small rise of the last counts as itself."""
    return exp(min(sharpness * (end - 1), 500.0)) / sharpness


def _exchange(draw: Random, mine: list[int], other: list[int], cost: list[float]) -> tuple[list[int], list[int]]:
    """Draw what goes from the first of two instances to the second, and what comes back."""
    if not mine:
        return [], []
    kind = draw.random()
    gone = [draw.choice(mine)]
    if kind < 0.2 or not other:
        return gone, []
    if kind < 0.6:
        # One of about its length: neighbours in the plan.
        at = bisect(other, gone[0]) + draw.randrange(-_NEAR, _NEAR)
        return gone, [other[min(max(at, 0), len(other) - 1)]]
    if kind < 0.8:
        gone = draw.sample(mine, min(len(mine), draw.randint(1, _FEW)))
        return gone, draw.sample(other, min(len(other), draw.randint(1, _FEW)))
    # As many as make up for it.
    come: list[int] = []
    left = cost[gone[0]]
    for k in draw.sample(other, min(len(other), _MANY)):
        if cost[k] <= left:
            come.append(k)
            left -= cost[k]
    return gone, come


def _replaced(rows: list[int], gone: list[int], come: list[int]) -> list[int]:
    """Return the rows without some and with others, longest first."""
    left = [k for k in rows if k not in gone]
    for k in come:
        insort(left, k)
    return left
