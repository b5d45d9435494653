"""Where every request is, as far as the dispatcher has decided it, and how many are on each instance."""

import numpy as np

from makespan.schedulers.types import IntArray
from makespan.schedulers.view import NOWHERE


class Whereabouts:
    """The columns `instance`, `last_instance` and `in_flight` of a view.

    Parameters
    ----------
    requests, instances
        How many there are.
    """

    def __init__(self, requests: int, instances: int) -> None:
        self.instance = np.full(requests, NOWHERE, dtype=np.int64)
        self.last_instance = np.full(requests, NOWHERE, dtype=np.int64)
        self.in_flight = np.zeros(instances, dtype=np.int64)

    def place(self, rows: IntArray, instances: IntArray) -> None:
        """Note where requests go that were nowhere."""
        self.instance[rows] = instances
        np.add.at(self.in_flight, instances, 1)

    def end(self, rows: IntArray) -> IntArray:
        """Take requests that have ended off the counts, and return the instances on which they were."""
        where: IntArray = self.instance[rows]
        where = where[where != NOWHERE]
        np.add.at(self.in_flight, where, -1)
        return where

    def bring_back(self, rows: IntArray) -> IntArray:
        """Note that requests are nowhere; returns the instances on which they were."""
        where = self.end(rows)
        self.instance[rows] = NOWHERE
        return where

    def move(self, rows: IntArray, instances: IntArray) -> None:
        """Note where requests go that are on other instances."""
        self.bring_back(rows)
        self.place(rows, instances)
        self.hand_over(rows, instances)

    def hand_over(self, rows: IntArray, instances: IntArray) -> None:
        """Note that requests are given to the instances on which they are placed."""
        self.last_instance[rows] = instances
