"""Which instance runs how many requests of each length, by OR-Tools CP-SAT.

Model. Requests are put into classes of neighbouring lengths, the longest alone; the variables are how many of class c run on
instance i. With supporting lines (alpha, beta) of its table, an instance ends no sooner than, for each line,

    alpha * steps + beta * (tokens) + gamma * (KV, over all steps) + rho * (prompt tokens),

where ``steps`` is at least the longest length on it, tokens / B, KV / C and, when no request is interrupted, ``r`` times the
length of a class if more than ``(r - 1) * B`` requests at least as long run there. A class counts with its least members,
so what the solver proves holds for all schedules in which each request runs on one instance from its start to its end.
"""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.instances import BLOCK_TOKENS
from makespan.schedulers.prefill_bound import base_ps, least_kv_ps, prefill_work_ps
from makespan.schedulers.stage_plan import StagePlan
from makespan.schedulers.supporting_lines import supporting_lines
from makespan.schedulers.types import IntArray

_ALONE = 96
_CLASSES = 64
_LINES = 4
_ROUNDS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """What the solver found: the instance of each request of the plan, and what it proved, in picoseconds."""

    where: IntArray
    bound_ps: float


def solve_assignment(plan: StagePlan, start: IntArray, end_ps: float, time_limit_s: float, seed: int) -> Assignment:
    """Minimise the last end of `plan` by the model, from the placement `start` that ends at `end_ps`.

    Parameters
    ----------
    plan
        What is to be placed; what is already on an instance stays there.
    start
        A placement, shape (n,).
    end_ps
        When it ends, in picoseconds.
    time_limit_s
        Deterministic solver time, so that the same seed gives the same plan on any machine; about as many seconds.
    seed
        Of the search.
    """
    from ortools.sat.python import cp_model

    classes = _classes(plan)
    # CP-SAT is quick with small coefficients; rounding down keeps what it proves valid.
    tick = max(int(end_ps) >> 30, 1)
    model = cp_model.CpModel()
    makespan = model.new_int_var(0, int(end_ps) // tick + 1, "makespan")
    counts = []
    for c, rows in enumerate(classes):
        size, fixed = len(rows), int(plan.fixed[rows[0]])
        row = [model.new_int_var(size if fixed == i else 0, size, f"c{c}_i{i}") for i in range(len(plan.cluster))]
        model.add(sum(row) == size)
        counts.append(row)
    lengths = np.array([plan.lengths[rows].min() for rows in classes])
    kv = np.array([plan.kv[rows].min() for rows in classes])
    prefill = np.array([plan.prefill[rows].min() for rows in classes], dtype=np.float64)
    ends = []
    for i, instance in enumerate(plan.cluster):
        here, hint = [row[i] for row in counts], np.array([(start[rows] == i).sum() for rows in classes])
        for variable, value in zip(here, hint.tolist(), strict=True):
            model.add_hint(variable, value)
        # Steps times the first number are at least the costs of the variables; the last column is their hint.
        least = [(instance.max_batch, lengths, here, hint), (instance.kv_blocks * BLOCK_TOKENS, kv, here, hint)]
        for c, rows in enumerate(classes):
            used = here[c] if len(rows) == 1 else model.new_bool_var(f"used_c{c}_i{i}")
            if len(rows) > 1:
                model.add(here[c] <= len(rows) * used)
                model.add_hint(used, bool(hint[c]))
            least.append((1, lengths[[c]], [used], np.minimum(hint[[c]], 1)))
        for c in _rounds(plan, classes):
            rounds, taken = (
                model.new_int_var(0, len(plan), f"rounds_c{c}_i{i}"),
                -(-hint[: c + 1].sum() // instance.max_batch),
            )
            model.add(instance.max_batch * rounds >= sum(here[: c + 1]))
            model.add_hint(rounds, int(taken))
            least.append((1, lengths[[c]], [rounds], np.array([taken])))
        steps = model.new_int_var(0, int(plan.lengths.sum()), f"steps_{i}")
        for per, cost, variables, _ in least:
            model.add(per * steps >= sum(int(k) * x for k, x in zip(cost, variables, strict=True)))
        hinted = max(-(-int(cost @ values) // per) for per, cost, _, values in least)
        model.add_hint(steps, hinted)
        lines = supporting_lines(base_ps(instance))
        for k in np.unique(np.linspace(0, len(lines) - 1, _LINES).astype(int)).tolist():
            alpha, beta = lines[k]
            work = (
                (beta * lengths + least_kv_ps(instance) * kv + prefill_work_ps(instance, prefill, alpha, beta)) // tick
            ).astype(np.int64)
            model.add(makespan >= int(alpha) // tick * steps + sum(int(w) * x for w, x in zip(work, here, strict=True)))
            ends.append(int(alpha) // tick * hinted + int(work @ hint))
    model.add_hint(makespan, max(ends))
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    solver.parameters.max_deterministic_time = time_limit_s
    solver.parameters.random_seed = seed
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Assignment(start, 0.0)
    where = start.copy()
    for rows, row in zip(classes, counts, strict=True):
        where[rows] = np.repeat(np.arange(len(row)), [solver.value(x) for x in row])
    return Assignment(where, solver.best_objective_bound * tick)


def _classes(plan: StagePlan) -> list[IntArray]:
    """Return the requests of each class, longest first; what is already on an instance is a class of its own."""
    free = np.flatnonzero(plan.fixed < 0)
    alone = np.concatenate([free[:_ALONE], np.flatnonzero(plan.fixed >= 0)])
    shared = np.array_split(free[_ALONE:], min(_CLASSES, max(len(free) - _ALONE, 1)))
    classes = [np.array([k]) for k in alone.tolist()] + [rows for rows in shared if len(rows)]
    return sorted(classes, key=lambda rows: int(rows[0]))


def _rounds(plan: StagePlan, classes: list[IntArray]) -> list[int]:
    """Return the classes with which it is worth counting rounds: the last of each length among the longer half."""
    lengths = [int(plan.lengths[rows].min()) for rows in classes]
    last = [c for c in range(len(classes)) if 2 * lengths[c] > lengths[0] and lengths[c + 1 : c + 2] != [lengths[c]]]
    return [last[k] for k in np.unique(np.linspace(0, len(last) - 1, _ROUNDS).astype(int)).tolist()]
