"""A request that comes back goes where it was, unless that instance has too much to do (Heddle, arXiv 2603.28101)."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.types import IntArray
from makespan.schedulers.view import NOWHERE, View


@dataclass(frozen=True, slots=True)
class HomeUnlessSkewed:
    """To the last instance, or to the one with the least outstanding where the last has more than `skew` times the mean.

    Outstanding are the tokens believed to remain of what is on an instance.

    Parameters
    ----------
    skew
        How much above the mean an instance may be before what comes back to it migrates. Heddle migrates a trajectory only
        between two of its steps, when refreshed predictions have made the load skewed; how skewed is not known, the value
        is ours.
    """

    skew: float = 1.25

    def __post_init__(self) -> None:
        if not self.skew >= 1:
            raise ValueError(f"the skew of loads must be at least 1, got {self.skew}")

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return one choice after the other."""
        remaining = np.maximum(np.rint(view.estimates.point).astype(np.int64) - view.generated, 1)
        placed = np.flatnonzero((view.instance != NOWHERE) & ~view.ended)
        load = np.bincount(view.instance[placed], remaining[placed], len(view.cluster)).astype(np.int64)
        order = view.cluster.by_sequence
        chosen = []
        for row in rows.tolist():
            home = int(view.last_instance[row])
            if home == NOWHERE or load[home] * len(load) > self.skew * int(load.sum()):
                home = int(order[load[order].argmin()])
            load[home] += remaining[row]
            chosen.append(home)
        return np.array(chosen, dtype=np.int64)
