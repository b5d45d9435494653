"""The longest requests on instances that stay and are not interrupted: a whole number on each, in whole rounds of its slots.

Where no request is interrupted, each takes a slot of its instance for as many steps in a row as it has tokens. Of the q
longest requests, all of at least ``length`` tokens, an instance with B slots may be given k. In some slot at least
r = ceil(k / B) of them run one after the other, so it makes at least ``r * length`` steps. Whether it ends in time with them
is arithmetic: by every line, alpha times those steps and the k least works of the q. Let K_r be the most requests, up to
r * B, with which it does, and room_r the room for work beside the steps of r rounds (see `stay_bound`). Requests are whole,
so an assignment that ends by T has whole numbers r_i with

    sum_i K_{r_i} >= q,    sum_i room_{r_i} >= all work,

and the largest of the second sums under the first is found by trying every r on one instance after the other. When a
ninth request of the longest kind does not fit any more on an instance, no fraction of it does.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from makespan.schedulers.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """How much work an instance has room for, in picoseconds and in the unit of one line.

    Parameters
    ----------
    alpha
        Of each line, shape (lines,).
    share
        Least ratio of a line's work to that of the unit among requests k, k + 1 …, shape (requests, lines).
    """

    alpha: FloatArray
    share: FloatArray

    def until(self, end: float, steps: float, first: int) -> float:
        """Return the room for requests from `first` on beside so many steps, or minus infinity where these take longer."""
        room = float(((end - self.alpha * steps) / self.share[first]).min())
        return room if room >= 0 else -np.inf


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """The longest requests, all of at least `length` tokens.

    Parameters
    ----------
    length
        Tokens that each has at least.
    slots
        How many run at once.
    least
        Of 0, 1 … of them, by each line, the work they have at least, in picoseconds, shape (count + 1, lines).
    """

    length: float
    slots: int
    least: FloatArray

    @classmethod
    def of(cls, works: FloatArray, length: float, slots: int) -> Self:
        """Return the crowd whose requests have these works, shape (count, lines)."""
        return cls(length, slots, np.vstack([np.zeros(works.shape[1]), np.cumsum(np.sort(works, axis=0), axis=0)]))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.least) - 1

    @property
    def rounds(self) -> int:
        """Rounds in which one instance would run all of them."""
        return -(-self.count // self.slots)

    def taken(self, alpha: FloatArray, rounds: int, end: float) -> int:
        """Return how many of them end on one instance in so many rounds by `end`."""
        busy = (alpha * (rounds * self.length) + self.least[: rounds * self.slots + 1]).max(axis=1)
        return int(np.searchsorted(busy, end * (1 + 1e-12), side="right")) - 1

    def fit(self, work: float, room: Room, instances: int, end: float) -> bool:
        """Return whether all `work`, in the unit of `room`, fits by `end` if each instance takes a whole number of these."""
        count = self.count
        # Of each number of the longest that are placed already: the most room for work, all of theirs included.
        most = np.full(count + 1, -np.inf)
        most[0] = 0.0
        choices = []
        for rounds in range(self.rounds + 1):
            if (rooms := room.until(end, rounds * self.length, 0)) < 0:
                break
            choices.append((self.taken(room.alpha, rounds, end), rooms))
        # As evenly as whole rounds can be is often enough, and quickly tried.
        for (few, small), (many, large) in pairwise(choices):
            more = -(-(count - instances * few) // (many - few)) if many > few else -1
            if 0 <= more <= instances and more * large + (instances - more) * small >= work:
                return True
        for _ in range(instances):
            before, most = most, np.full(count + 1, -np.inf)
            for taken, rooms in choices:
                np.maximum(most[taken:], before[: count + 1 - taken] + rooms, out=most[taken:])
                most[count] = max(most[count], before[max(count - taken, 0) :].max() + rooms)
        return bool(most[count] >= work * (1 - 1e-12))
