"""A placement that is proven best in a linear model of the instances, by OR-Tools CP-SAT.

Model. With a supporting line ``alpha + beta * b`` of the step-time table (see `bounds`), an instance that is given the
set A of requests, none of which leaves it, is busy for at least

    alpha * steps + sum_{j in A} w_j,    steps >= L_j for j in A,    batch_limit * steps >= sum_{j in A} L_j,

where w_j is the time that j adds to the steps it is in (batch, KV and prefill terms). CP-SAT minimises the largest of
these over instances. With batch limit 1 and constant step time this is P || Cmax itself; otherwise it is a
relaxation, so its bound holds for every schedule that keeps requests where they start.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from makespan.schedulers.instances import Cluster
from makespan.schedulers.placements import LeastTokens, RoundRobin
from makespan.schedulers.prefill_bound import base_ps, least_kv_ps, prefill_work_ps
from makespan.schedulers.skew_aware import SkewAware
from makespan.schedulers.step_time import PICOSECONDS
from makespan.schedulers.supporting_lines import supporting_lines
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View

Status = Literal["optimal", "feasible"]


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What the solver found.

    Parameters
    ----------
    instance
        The instance of each request, shape (n,).
    status
        ``"optimal"`` when proven, ``"feasible"`` when the time ran out first.
    objective_s, bound_s
        Makespan in the model, and what is proven to be unbeatable in it. Seconds.
    """

    instance: IntArray
    status: Status
    objective_s: float
    bound_s: float

    @property
    def gap(self) -> float:
        """Objective over bound."""
        return self.objective_s / self.bound_s


@dataclass(frozen=True, slots=True)
class Optimal:
    """Place by CP-SAT, starting from the best of the heuristics; all requests must be known at the start.

    Parameters
    ----------
    time_limit_s
        Deterministic solver time, so that the same seed gives the same plan on any machine; about as many seconds.
    seed
        Of the search.
    """

    time_limit_s: float = 30.0
    seed: int = 0
    places_at_once: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.time_limit_s > 0:
            raise ValueError(f"the solver's time limit must be positive, got {self.time_limit_s}")

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the placement of the best solution found."""
        return self.solve(view, rows).instance

    def solve(self, view: View, rows: IntArray) -> Solution:
        """Return the best solution found for `rows`, with its status, objective and bound."""
        if len(rows) != len(view.requests):
            raise ValueError(
                f"optimal plans a whole stage at once, so all requests must arrive at 0, got {len(rows)} of "
                f"{len(view.requests)}"
            )
        # The solver is shown instances in the order of their counters, so that their labels do not matter (law L7).
        by_sequence = view.cluster.by_sequence
        turn = np.argsort(by_sequence)
        model = _LinearModel.of(view, rows)
        hints = [turn[part.place(view, rows)] for part in (LeastTokens(), SkewAware(), RoundRobin())]
        start = min([*hints, model.contiguous()], key=lambda instance: int(model.loads(instance).max()))
        found = model.solve(start, self.time_limit_s, self.seed)
        return replace(found, instance=by_sequence[found.instance])


def _tight_line(table_ps: IntArray, batch: int) -> tuple[int, int]:
    """Return the supporting line that is highest at `batch`, in whole picoseconds (rounded down)."""
    alpha, beta = max(supporting_lines(table_ps), key=lambda line: line[0] + line[1] * batch)
    return int(alpha), int(beta)


@dataclass(frozen=True, slots=True, eq=False)
class _LinearModel:
    """The coefficients of the model; the line of each instance is tight at the batch it will run."""

    cluster: Cluster
    lengths: IntArray
    weights: IntArray  # picoseconds, shape (instances, requests)
    alpha: IntArray  # picoseconds per step, shape (instances,)

    @classmethod
    def of(cls, view: View, rows: IntArray) -> "_LinearModel":
        lengths = np.maximum(np.rint(view.estimates.point[rows]), 1).astype(np.int64)
        prompts = view.requests.prompt_tokens[rows]
        kv = lengths * prompts + lengths * (lengths - 1) // 2
        share = -(-len(rows) // len(view.cluster))
        alpha, weights = [], []
        cluster = view.cluster.only(view.cluster.by_sequence)
        for instance in cluster:
            line = _tight_line(base_ps(instance), min(share, instance.max_batch))
            alpha.append(line[0])
            prefill = prefill_work_ps(instance, prompts.astype(np.float64), *line).astype(np.int64)
            weights.append(line[1] * lengths + least_kv_ps(instance) * kv + prefill)
        return cls(cluster, lengths, np.array(weights), np.array(alpha))

    def loads(self, instance: IntArray) -> IntArray:
        """Return the model's busy time of every instance for a placement, in picoseconds."""
        loads = np.zeros(len(self.cluster), dtype=np.int64)
        for i, limit in enumerate(self.cluster.max_batch.tolist()):
            mine = np.flatnonzero(instance == i)
            if len(mine):
                steps = max(int(self.lengths[mine].max()), -(-int(self.lengths[mine].sum()) // limit))
                loads[i] = self.alpha[i] * steps + self.weights[i, mine].sum()
        return loads

    def contiguous(self) -> IntArray:
        """Return the best placement that fills one instance after the other, longest requests first.

        Each is filled as long as its load stays within a common target; the least target that suffices is bisected.
        """
        longest_first = np.lexsort((np.arange(len(self.lengths)), -self.lengths))
        low, high = 0, int(self.loads(np.zeros_like(self.lengths)).sum())
        best = np.zeros_like(self.lengths)
        while high - low > max(high >> 24, 1):
            target = (low + high) // 2
            filled = self._fill(longest_first, target)
            if filled is None:
                low = target
            else:
                best, high = filled, target
        return best

    def _fill(self, longest_first: IntArray, target: int) -> IntArray | None:
        where = np.empty_like(self.lengths)
        first = 0
        for i in range(len(self.cluster)):
            rest = longest_first[first:]
            if not len(rest):
                break
            lengths = self.lengths[rest]
            steps = np.maximum(lengths[0], -(-np.cumsum(lengths) // self.cluster.max_batch[i]))
            load = self.alpha[i] * steps + np.cumsum(self.weights[i, rest])
            taken = int(np.searchsorted(load, target, side="right"))
            where[rest[:taken]] = i
            first += taken
        return where if first == len(longest_first) else None

    def trivial_bound(self) -> int:
        """Return picoseconds that no placement can beat: the longest request alone, and all work spread evenly."""
        alone = (self.alpha[:, None] * self.lengths + self.weights).min(axis=0).max()
        shared = (self.alpha[:, None] * self.lengths // self.cluster.max_batch[:, None] + self.weights).min(axis=0).sum()
        return max(int(alone), int(shared) // len(self.cluster))

    def solve(self, start: IntArray, time_limit_s: float, seed: int) -> Solution:
        """Minimise the largest load from the placement `start`."""
        from ortools.sat.python import cp_model

        # CP-SAT is quick with small coefficients. Where they have no large common divisor they are rounded down to
        # a 2**30th of the makespan, which keeps the bound valid.
        common = int(np.gcd.reduce(np.append(self.weights.ravel(), self.alpha)))
        tick = max(common, int(self.loads(start).max()) >> 30)
        model = cp_model.CpModel()
        most = int(self.loads(start).max()) // tick + 1
        makespan = model.new_int_var(0, most, "makespan")
        count = len(self.lengths)
        on = [[model.new_bool_var(f"r{j}_i{i}") for i in range(len(self.cluster))] for j in range(count)]
        for j in range(count):
            model.add_exactly_one(on[j])
        for i, limit in enumerate(self.cluster.max_batch.tolist()):
            steps = model.new_int_var(0, int(self.lengths.sum()), f"steps_{i}")
            for j in range(count):
                model.add(steps >= int(self.lengths[j])).only_enforce_if(on[j][i])
            model.add(limit * steps >= sum(int(self.lengths[j]) * on[j][i] for j in range(count)))
            work = sum(int(self.weights[i, j] // tick) * on[j][i] for j in range(count))
            model.add(makespan >= int(self.alpha[i] // tick) * steps + work)
        for j in range(count):
            for i in range(len(self.cluster)):
                model.add_hint(on[j][i], int(start[j]) == i)
        model.minimize(makespan)
        solver = cp_model.CpSolver()
        solver.parameters.max_deterministic_time = time_limit_s
        solver.parameters.random_seed = seed
        # Interleaved workers share one thread of time in a fixed order: parallel ideas, reproducible answers.
        solver.parameters.num_workers = 8
        solver.parameters.interleave_search = True
        status = solver.solve(model)
        bound = max(solver.best_objective_bound * tick, self.trivial_bound()) / PICOSECONDS
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return Solution(start, "feasible", float(self.loads(start).max()) / PICOSECONDS, bound)
        found = np.array([next(i for i, x in enumerate(row) if solver.boolean_value(x)) for row in on])
        best = min((start, found), key=lambda instance: int(self.loads(instance).max()))
        return Solution(
            best.astype(np.int64),
            "optimal" if status == cp_model.OPTIMAL else "feasible",
            float(self.loads(best).max()) / PICOSECONDS,
            bound,
        )
