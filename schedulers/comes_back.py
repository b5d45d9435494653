"""One placement for requests that have never run, another for those that come back."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.parts import HOLD, Placement
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class ComesBack:
    """Ask `first` where requests go that have generated nothing, and `again` where the others do.

    Heddle (arXiv 2603.28101) partitions trajectories once, and migrates one that is between two of its steps when the load
    has become skewed.
    """

    first: Placement
    again: Placement

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the answers of both."""
        where = np.full(len(rows), HOLD, dtype=np.int64)
        ran = view.generated[rows] > 0
        for mine, part in ((~ran, self.first), (ran, self.again)):
            places = np.flatnonzero(mine)
            if len(places):
                answer = part.place(view, rows[places])
                where[places[: len(answer)]] = answer
        return where
