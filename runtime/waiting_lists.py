"""What waits with the dispatcher: requests without an instance, and those placed on one but not handed to it."""

import numpy as np

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
        self._free = np.empty(0, dtype=np.int64)
        self._free_sorted = True
        self._placed: list[IntArray] = [np.empty(0, dtype=np.int64) for _ in range(instances)]
        self._placed_sorted = np.ones(instances, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._free)

    def add(self, rows: IntArray) -> None:
        """Add requests without an instance."""
        self._free = np.concatenate([self._free, rows])
        self._free_sorted = False

    def drop(self, rows: IntArray) -> None:
        """Strike requests off every list."""
        self._free = _without(self._free, rows)
        self._placed = [_without(placed, rows) for placed in self._placed]

    def believe_anew(self) -> None:
        """Note that estimates have changed, and orders with them."""
        self._free_sorted = False
        self._placed_sorted[:] = False

    def in_order(self, policy: Policy, view: View) -> IntArray:
        """Return the requests without an instance."""
        if not self._free_sorted:
            self._free = policy.ordered(view, self._free)
            self._free_sorted = True
        return self._free

    def take(self, count: int, held: BoolArray) -> IntArray:
        """Take the first `count` requests without an instance, but leave those that are held; shape (count,)."""
        rows, rest = self._free[:count], self._free[count:]
        self._free = np.concatenate([rows[held], rest]) if held.any() else rest
        return rows[~held]

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


def _without(rows: IntArray, gone: IntArray) -> IntArray:
    return rows[~np.isin(rows, gone)]
