"""A policy is a choice of the five parts."""

from dataclasses import dataclass, field
from math import inf

import numpy as np

from makespan.schedulers.admissions import EngineAdmits
from makespan.schedulers.issues import KeepAll
from makespan.schedulers.orders import ByArrival
from makespan.schedulers.parts import SHORTEST_PERIOD_S, Admission, Issue, Order, Periodic, Placement, Rebalance
from makespan.schedulers.placements import RoundRobin
from makespan.schedulers.rebalances import Stay
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class Policy:
    """Order, placement, admission, rebalance and issue; the defaults are those of a plain engine pool.

    Parameters
    ----------
    order, placement, admission, rebalance, issue
        The parts.
    chunk_tokens
        After so many new tokens a request leaves its instance and is placed anew (the divided rollout of Seer,
        arXiv 2511.14617, section 3.1); None to let it stay until it ends.
    information
        Names of the information sources it is meant for; empty when it uses none.
    source
        Where it was published or which system does this.
    """

    order: Order = field(default_factory=ByArrival)
    placement: Placement = field(default_factory=RoundRobin)
    admission: Admission = field(default_factory=EngineAdmits)
    rebalance: Rebalance = field(default_factory=Stay)
    issue: Issue = field(default_factory=KeepAll)
    chunk_tokens: int | None = None
    information: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        if self.chunk_tokens is not None and self.chunk_tokens < 1:
            raise ValueError(f"chunk_tokens must be at least 1, got {self.chunk_tokens}")
        for part in (self.rebalance, self.issue):
            if isinstance(part, Periodic) and not SHORTEST_PERIOD_S <= part.every_s < inf:
                raise ValueError(f"every_s must be at least {SHORTEST_PERIOD_S:g} and finite, got {part.every_s}")

    @property
    def decides_once(self) -> bool:
        """Whether everything is settled when a request arrives, so that instances can be simulated apart."""
        return (
            bool(getattr(self.placement, "places_at_once", False))
            and isinstance(self.admission, EngineAdmits)
            and isinstance(self.rebalance, Stay)
            and isinstance(self.issue, KeepAll)
            and self.chunk_tokens is None
        )

    @property
    def every_s(self) -> float:
        """The shortest time in which a part wants to be asked again; infinite where none does."""
        return min((part.every_s for part in (self.rebalance, self.issue) if isinstance(part, Periodic)), default=inf)

    @property
    def work_conserving(self) -> bool:
        """Whether it claims that no instance idles while it could admit work that waits anywhere (law L5)."""
        return bool(getattr(self.placement, "work_conserving", False)) and isinstance(self.admission, EngineAdmits)

    def ordered(self, view: View, rows: IntArray) -> IntArray:
        """Return `rows` in the order in which they should start; ties go by sequence."""
        ordered: IntArray = rows[np.lexsort((view.requests.sequence[rows], self.keys(view, rows)))]
        return ordered

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return the key of each of `rows`, or raise `ValueError` where the order gives something else."""
        keys = self.order.keys(view, rows)
        if keys.shape != rows.shape or np.isnan(keys).any():
            raise ValueError(f"an order must return a number for each of {len(rows)} rows, got {keys[:5]}")
        return keys
