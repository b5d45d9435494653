"""Orders: which waiting request next."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

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


@dataclass(frozen=True, slots=True)
class LongestCapFirst:
    """The largest cap on new tokens first: SGLang's ``--schedule-policy lof``, longest output first.

    Where every request has the same cap, as in RL, it is first come, first served.
    """

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return minus the cap."""
        return -view.requests.max_new_tokens[rows].astype(float)


@dataclass(frozen=True, slots=True)
class MostProgressFirst:
    """Most turns done first, then the longest reusable prefix (DynaRL, OSDI 2026; the opposite of longest first)."""

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return minus turns and, below them, tokens whose KV an earlier run has computed; one that never ran has none."""
        ran = view.generated[rows] > 0
        prefix = np.where(ran, view.requests.prompt_tokens[rows] + view.generated[rows], 0)
        keys: FloatArray = -(view.turns_done[rows] * 2.0**32 + prefix)
        return keys


@dataclass(frozen=True, slots=True)
class LongestWholeFirst:
    """The longest output first, on the whole of what is believed and at least what there is; running costs no place."""

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return minus the believed length."""
        return -np.maximum(view.estimates.point[rows], view.generated[rows])


@dataclass(frozen=True, slots=True)
class ShortestWholeFirst:
    """The shortest output first, on the whole of what is believed: a ranker's score (vllm-ltr, arXiv 2408.15792)."""

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return the believed length."""
        return view.estimates.point[rows].copy()
