"""The best placement that a solver finds, with a proof of how good it is."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from makespan.schedulers.assignment_solver import solve_assignment
from makespan.schedulers.bounds import lower_bound
from makespan.schedulers.exchange_search import ExchangeSearch
from makespan.schedulers.placements import LeastTokens, RoundRobin
from makespan.schedulers.requests import Requests
from makespan.schedulers.skew_aware import SkewAware
from makespan.schedulers.stage_plan import StagePlan
from makespan.schedulers.stay_bound import stay_bound_ps
from makespan.schedulers.step_time import PICOSECONDS
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View

Status = Literal["optimal", "feasible"]
_TIGHT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What the solver found.

    Parameters
    ----------
    instance
        The instance of each request, shape (n,).
    status
        ``"optimal"`` when the objective is proven to be the least but for a millionth.
    objective_s
        When the last instance ends by `StagePlan`, in seconds.
    bound_s
        What no schedule can beat in which each request runs on one instance from its start to its end, in seconds.
    moving_bound_s
        What no schedule at all can beat, with preemption and moves for free. What `bound_s` exceeds it by is a price of
        not moving.
    """

    instance: IntArray
    status: Status
    objective_s: float
    bound_s: float
    moving_bound_s: float

    @property
    def gap(self) -> float:
        """Objective over bound."""
        return self.objective_s / self.bound_s


@dataclass(frozen=True, slots=True)
class Optimal:
    """Place by exchanges from the best of the heuristics, and from there by CP-SAT.

    Parameters
    ----------
    time_limit_s
        Deterministic solver time, so that the same seed gives the same plan on any machine; about as many seconds.
    seed
        Of both searches.
    tries
        Exchanges to be tried before, for each request (`ExchangeSearch`).
    """

    time_limit_s: float = 30.0
    seed: int = 0
    tries: int = 40
    places_at_once: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.time_limit_s > 0:
            raise ValueError(f"the solver's time limit must be positive, got {self.time_limit_s}")
        if self.tries < 0:
            raise ValueError(f"tries must not be negative, got {self.tries}")

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the placement of the best solution found."""
        return self.solve(view, rows).instance if len(rows) else rows

    def solve(self, view: View, rows: IntArray, hint: IntArray | None = None) -> Solution:
        """Return the best solution found for `rows`, beside what the instances already have.

        Parameters
        ----------
        view, rows
            As for `place`.
        hint
            A placement of `rows` to start from if it is better than the solver's own, shape (len(rows),).
        """
        # The solver is shown instances in the order of their counters, so that their labels do not matter (law L7).
        by_sequence = view.cluster.by_sequence
        view = view.only(by_sequence)
        plan = StagePlan.of(view, rows)
        by_row = np.argsort(plan.rows)
        position = by_row[np.searchsorted(plan.rows, rows, sorter=by_row)]

        def whole(placed: IntArray) -> IntArray:
            where: IntArray = plan.fixed.copy()
            where[position] = placed
            return where

        starts = [whole(part.place(view, rows)) for part in (LeastTokens(), SkewAware(), RoundRobin())]
        starts += [plan.least_end(), plan.first_fit()] + ([] if hint is None else [whole(np.argsort(by_sequence)[hint])])
        best = min(starts, key=lambda where: float(plan.ends(where).max()))
        moving = _moving_bound_ps(plan)
        bound = max(stay_bound_ps(plan, interrupted=False), moving)
        best = ExchangeSearch(self.tries * len(rows), self.seed).improve(plan, best, bound * (1 + _TIGHT))
        end = float(plan.ends(best).max())
        if end > bound * (1 + _TIGHT):
            found = solve_assignment(plan, best, end, self.time_limit_s, self.seed)
            bound = max(bound, found.bound_ps)
            best = min((best, found.where), key=lambda where: float(plan.ends(where).max()))
            end = float(plan.ends(best).max())
        return Solution(
            by_sequence[best[position]],
            "optimal" if end <= bound * (1 + _TIGHT) else "feasible",
            end / PICOSECONDS,
            bound / PICOSECONDS,
            moving / PICOSECONDS,
        )


def _moving_bound_ps(plan: StagePlan) -> float:
    """Return the bound on what is yet to be placed: what runs has its prompt behind it, which a bound must not count."""
    free = plan.fixed < 0
    requests = Requests.of(plan.prompts[free], plan.lengths[free])
    return lower_bound(requests, plan.lengths[free], plan.cluster) * PICOSECONDS
