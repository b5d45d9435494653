"""Policy parts that place, move, take back and abort at random, and look only at what every engine shows alike."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.parts import HOLD, Moves
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import QUEUED, RUNNING, View


@dataclass(eq=False)
class Restless:
    """A placement, rebalance and issue that draws anew for each question; it comes to rest after a few hundred.

    Parameters
    ----------
    seed
        Of the draws.
    moving, holding, ending
        Shares of the requests inside instances that are moved and taken back, and of all that are aborted, at a question.
    """

    seed: int
    moving: float = 0.1
    holding: float = 0.1
    ending: float = 0.0
    asked: int = 0

    def place(self, view: View, rows: IntArray) -> IntArray:
        rng = self.draw()
        where = rng.integers(0, len(view.cluster), len(rows))
        if (view.running + view.queued).any() and self.asked < 300:
            where[rng.random(len(rows)) < self.holding] = HOLD
        return where

    def move(self, view: View) -> Moves:
        rng = self.draw()
        inside = np.flatnonzero(np.isin(view.state, (QUEUED, RUNNING)))
        draws = rng.random(len(inside))
        where = rng.integers(0, len(view.cluster), len(inside))
        where[draws < self.holding] = HOLD
        chosen = (draws < self.holding + self.moving) & (self.asked < 300)
        return Moves(inside[chosen], where[chosen])

    def abort(self, view: View) -> IntArray:
        rng = self.draw()
        return np.flatnonzero((rng.random(len(view.requests)) < self.ending) & ~view.ended)

    def draw(self) -> np.random.Generator:
        self.asked += 1
        return np.random.default_rng([self.seed, self.asked])


@dataclass(eq=False)
class RestlessOnTime(Restless):
    """One that wants to be asked again and again."""

    every_s: float = 0.01
