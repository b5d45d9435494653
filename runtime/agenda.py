"""When a dispatcher must decide although nothing has ended: requests arrive, or a part wants to be asked again."""

from math import inf

import numpy as np

from makespan.schedulers.requests import Requests
from makespan.schedulers.types import IntArray


class Agenda:
    """The moments that are known beforehand.

    Parameters
    ----------
    requests
        Whose arrivals are on it.
    every_s
        At all multiples of so many seconds a part wants to be asked; infinite for never.
    """

    def __init__(self, requests: Requests, every_s: float) -> None:
        self._arrivals = np.lexsort((requests.sequence, requests.arrival))
        self._times = requests.arrival[self._arrivals]
        self._next = 0
        self._every_s = every_s
        self._period = 0

    @property
    def all_arrived(self) -> bool:
        """Whether no request is still to come."""
        return self._next == len(self._arrivals)

    def arrived(self, now: float) -> IntArray:
        """Return the requests that have come since the last call, in order."""
        first = self._next
        while self._next < len(self._times) and self._times[self._next] <= now:
            self._next += 1
        new: IntArray = self._arrivals[first : self._next]
        return new

    def next_moment(self, now: float) -> float:
        """Return the first moment after `now`."""
        arrival = inf if self.all_arrived else float(self._times[self._next])
        return min(arrival, self._next_period(now))

    def _next_period(self, now: float) -> float:
        if self._every_s == inf:
            return inf
        self._period = max(self._period, int(now / self._every_s))
        while self._period * self._every_s <= now:
            self._period += 1
        return self._period * self._every_s
