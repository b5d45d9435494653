"""Contiguous shares of equal number in the order of believed length, from short to long or from long to short."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class RankedShares:
    """The shortest go to one instance, the next to the next one: RhymeRL's ranking groups (arXiv 2508.18588).

    Alone it makes a stage longer. In two rounds, one up and one down, every instance has a long part and a short one, which
    pays where an instance need not wait for the others between rounds (HistoPipe).

    Parameters
    ----------
    descending
        Whether the first instance gets the longest.
    """

    descending: bool = False
    places_at_once: ClassVar[bool] = True

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the instance of each row by its rank among `rows`; ties go by sequence."""
        sign = -1 if self.descending else 1
        by_length = np.lexsort((view.requests.sequence[rows], sign * view.estimates.point[rows]))
        share = np.empty(len(rows), dtype=np.int64)
        share[by_length] = np.arange(len(rows)) * len(view.cluster) // max(len(rows), 1)
        chosen: IntArray = view.cluster.by_sequence[share]
        return chosen
