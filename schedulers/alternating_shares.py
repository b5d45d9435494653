"""Contiguous shares in the order of believed length, from short to long or from long to short."""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np

from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class AlternatingShares:
    """The shortest go to one instance, the next to the next one: RhymeRL's ranking groups (arXiv 2508.18588).

    Alone it makes a stage longer. In two rounds, one up and one down, every instance has a long part and a short one, which
    pays where an instance need not wait for the others between rounds (HistoPipe). Its second tier gives long outputs more
    instances, so that the times of the shares lie on a line; tokens stand for times here.

    Parameters
    ----------
    descending
        Whether the first instance gets the longest.
    steepness
        Tokens of the share with the longest outputs over those of the share with the shortest, positive; between them they
        rise evenly. The paper finds the line by search on profiled times and does not publish it.
    """

    descending: bool = False
    steepness: float = 2.0
    places_at_once: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (isfinite(self.steepness) and self.steepness > 0):
            raise ValueError(f"the steepness of shares must be positive and finite, got {self.steepness}")

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the instance of each row by its rank among `rows`; ties go by sequence."""
        believed, count = view.estimates.point[rows], len(view.cluster)
        by_length = np.lexsort((view.requests.sequence[rows], believed))
        ends = np.cumsum(np.linspace(1, self.steepness, count))
        tokens = np.cumsum(believed[by_length])
        middles = (tokens - believed[by_length] / 2) / tokens[-1:].sum() * ends[-1]
        share = np.empty(len(rows), dtype=np.int64)
        share[by_length] = np.minimum(np.searchsorted(ends, middles, side="right"), count - 1)
        chosen: IntArray = view.cluster.by_sequence[count - 1 - share if self.descending else share]
        return chosen
