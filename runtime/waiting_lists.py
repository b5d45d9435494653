"""What waits with the dispatcher: requests without an instance, and those placed on one but not handed to it."""

import numpy as np

from makespan.runtime.free_list import FreeList
from makespan.schedulers.policy import Policy
from makespan.schedulers.types import BoolArray, IntArray
from makespan.schedulers.view import View


class WaitingLists:
    """Rows in the order of the policy, sorted again only when something in a list or in what is believed has changed.

    Parameters
    ----------
    instances
        How many there are.
    """

    def __init__(self, instances: int) -> None:
        self._free = FreeList()
        self._placed: list[IntArray] = [np.empty(0, dtype=np.int64) for _ in range(instances)]
        self._placed_sorted = np.ones(instances, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._free)

    def add(self, rows: IntArray) -> None:
        """Add requests without an instance."""
        self._free.add(rows)

    def drop(self, rows: IntArray) -> None:
        """Strike requests off every list."""
        self._free.drop(rows)
        self._placed = [placed[~np.isin(placed, rows)] for placed in self._placed]

    def believe_anew(self) -> None:
        """Note that estimates have changed, and orders with them."""
        self._free.believe_anew()
        self._placed_sorted[:] = False

    def in_order(self, policy: Policy, view: View) -> IntArray:
        """Return the requests without an instance."""
        return self._free.in_order(policy, view)

    def take(self, count: int, held: BoolArray) -> IntArray:
        """Take the first `count` requests without an instance, but leave those that are held; shape (count,)."""
        return self._free.take(count, held)

    def put(self, instance: int, rows: IntArray) -> None:
        """Add requests placed on an instance."""
        self._placed[instance] = np.concatenate([self._placed[instance], rows])
        self._placed_sorted[instance] = False

    def any_placed(self, instance: int) -> bool:
        """Return whether a request placed on an instance waits."""
        return len(self._placed[instance]) > 0

    def placed_in_order(self, instance: int, policy: Policy, view: View) -> IntArray:
        """Return the requests placed on an instance."""
        if not self._placed_sorted[instance]:
            self._placed[instance] = policy.ordered(view, self._placed[instance])
            self._placed_sorted[instance] = True
        return self._placed[instance]

    def hand_over(self, instance: int, count: int) -> IntArray:
        """Take the first `count` requests placed on an instance."""
        rows, self._placed[instance] = self._placed[instance][:count], self._placed[instance][count:]
        return rows

    def unplace(self) -> IntArray:
        """Take all requests that are placed."""
        rows = np.concatenate(self._placed)
        self._placed = [placed[:0] for placed in self._placed]
        return rows
