"""Requests without an instance, in the order of a policy: sorted as a whole, or one by one as they come back."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from makespan.schedulers.policy import Policy
from makespan.schedulers.types import BoolArray, FloatArray, IntArray
from makespan.schedulers.view import View

C = TypeVar("C", np.int64, np.float64)
FEW = 64
"""So many new requests are looked up one by one; more are sorted together with the rest."""


class FreeList:
    """A list that is in order when it is asked for.

    Where the keys of an order belong to the requests alone (`own_keys`), those that are in order stay so, and new ones are
    inserted. Any other order is asked about all of them anew whenever the list has grown.
    """

    def __init__(self) -> None:
        self._rows = np.empty(0, dtype=np.int64)
        self._keys: FloatArray | None = np.empty(0)
        self._new = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows) + len(self._new)

    def add(self, rows: IntArray) -> None:
        """Add requests."""
        self._new = np.concatenate([self._new, rows]) if len(self._new) else rows

    def drop(self, rows: IntArray) -> None:
        """Strike requests off."""
        self._new = self._new[~np.isin(self._new, rows)]
        self._keep(~np.isin(self._rows, rows))

    def believe_anew(self) -> None:
        """Note that what is believed of requests has changed, and keys with it."""
        self._keys = None

    def in_order(self, policy: Policy, view: View) -> IntArray:
        """Return all requests in order."""
        if self._keys is None or len(self._new):
            self._sort(policy, view)
        return self._rows

    def take(self, count: int, held: BoolArray) -> IntArray:
        """Take the first `count` requests in order, but leave those that are held; shape (count,)."""
        rows = self._rows[:count]
        if held.any():
            self._keep(np.concatenate([held, np.ones(len(self._rows) - count, dtype=np.bool_)]))
        else:
            self._rows = self._rows[count:]
            self._keys = None if self._keys is None else self._keys[count:]
        return rows[~held]

    def _keep(self, chosen: BoolArray) -> None:
        self._rows = self._rows[chosen]
        self._keys = None if self._keys is None else self._keys[chosen]

    def _sort(self, policy: Policy, view: View) -> None:
        own = bool(getattr(policy.order, "own_keys", False))
        if self._keys is None or not own or len(self._new) > FEW:
            self._rows = policy.ordered(view, np.concatenate([self._rows, self._new]))
            self._keys = policy.keys(view, self._rows) if own else np.zeros(len(self._rows))
        else:
            for row, key in zip(self._new.tolist(), policy.keys(view, self._new).tolist(), strict=True):
                self._insert(view, row, key)
        self._new = self._new[:0]

    def _insert(self, view: View, row: int, key: float) -> None:
        """Put a request before the first that it precedes; ties go by sequence."""
        assert self._keys is not None
        at = int(self._keys.searchsorted(key))
        last = int(self._keys.searchsorted(key, "right"))
        if last > at:
            sequence = view.requests.sequence
            at += int(sequence[self._rows[at:last]].searchsorted(sequence[row]))
        self._rows = _inserted(self._rows, at, row)
        self._keys = _inserted(self._keys, at, key)


def _inserted(column: NDArray[C], at: int, value: float) -> NDArray[C]:
    # A third of the time of joining three parts, and done for every request that comes back.
    longer = np.empty(len(column) + 1, dtype=column.dtype)
    longer[:at], longer[at], longer[at + 1 :] = column[:at], value, column[at:]
    return longer
