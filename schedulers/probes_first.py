"""A few requests of every group go first, to show how long the others will be."""

from dataclasses import dataclass, field

import numpy as np

from makespan.schedulers.orders import FewestGeneratedFirst, LongestFirst
from makespan.schedulers.parts import Order
from makespan.schedulers.types import BoolArray, FloatArray, IntArray
from makespan.schedulers.view import View

AHEAD = 2.0**40
"""Taken off the key of a probe: more than any key of the others, and keys in whole tokens stay exact."""


@dataclass(frozen=True, slots=True)
class ProbesFirst:
    """The first requests of every group by one order, then all others by another.

    Parameters
    ----------
    count
        Probes of each group: those with its smallest sequence numbers. Seer has 1, which it calls speculative.
    probes, others
        Seer's two orders: fewest generated tokens first, then approximately longest first, where the longest finished
        sibling speaks for the group and the cap for a group in which nothing has finished.

    Notes
    -----
    Seer, arXiv 2511.14617v3, Algorithm 2. The paper also "occasionally schedules requests from underserved groups" and
    does not say when; that is left out.
    """

    count: int = 1
    probes: Order = field(default_factory=FewestGeneratedFirst)
    others: Order = field(default_factory=LongestFirst)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"a group must have at least 1 probe, got {self.count}")

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return the keys of the two orders, those of probes ahead."""
        is_probe = self._is_probe(view, rows)
        return np.where(is_probe, self.probes.keys(view, rows) - AHEAD, self.others.keys(view, rows))

    def _is_probe(self, view: View, rows: IntArray) -> BoolArray:
        group, sequence = view.requests.group, view.requests.sequence
        members = np.flatnonzero(view.arrived & np.isin(group, np.unique(group[rows])))
        members = members[np.lexsort((sequence[members], group[members]))]
        starts = np.flatnonzero(np.diff(group[members], prepend=group[members[:1]] - 1))
        place = np.arange(len(members)) - np.repeat(starts, np.diff(starts, append=len(members)))
        probe = np.zeros(len(group), dtype=np.bool_)
        probe[members[place < self.count]] = True
        return probe[rows]
