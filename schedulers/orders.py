"""Orders: which waiting request next."""

from dataclasses import dataclass
from typing import ClassVar

from makespan.schedulers.draws import uniform
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class ByArrival:
    """First come, first served."""

    own_keys: ClassVar[bool] = True

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return arrival times."""
        return view.requests.arrival[rows]


@dataclass(frozen=True, slots=True)
class LongestFirst:
    """Longest processing time first (Graham 1969), on what is believed to remain."""

    own_keys: ClassVar[bool] = True

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return minus the tokens that remain."""
        return view.generated[rows] - view.estimates.point[rows]


@dataclass(frozen=True, slots=True)
class ShortestFirst:
    """Shortest processing time first, on what is believed to remain; best for mean latency (Smith 1956)."""

    own_keys: ClassVar[bool] = True

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return the tokens that remain."""
        return view.estimates.point[rows] - view.generated[rows]


@dataclass(frozen=True, slots=True)
class InRandomOrder:
    """A fixed random order."""

    seed: int = 0
    own_keys: ClassVar[bool] = True

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return a number in (0, 1) that belongs to the request."""
        return uniform(self.seed, view.requests.sequence[rows], stream=11)


@dataclass(frozen=True, slots=True)
class FewestGeneratedFirst:
    """Least progress first (Seer's order of probes, arXiv 2511.14617, section 3)."""

    own_keys: ClassVar[bool] = True

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return the tokens generated so far."""
        return view.generated[rows].astype(float)
