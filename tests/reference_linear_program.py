"""A linear program over (part of a request, kind of step) that says from above what the lower bound can be at most.

It shares no code with the bound. Steps come in levels of b requests with S tokens of KV in all; the variables are how many
tokens of each part of each request are made in steps of each level, and how many such steps there are. A request's own steps
end by T, and all steps take no more than N * T. Levels are a grid, so that the optimum is at least that of all levels.
"""

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from makespan.schedulers.instances import Instance
from makespan.schedulers.types import FloatArray, IntArray


def linear_program(prompts: IntArray, outputs: IntArray, instance: Instance, instances: int, *, parts: int = 3) -> float:
    """Return the least T in seconds; every request has all of its prompt computed and `parts` equal parts of its tokens."""
    step, kv = instance.step_time, instance.step_time.seconds_per_kv_token
    cuts = [np.unique(np.linspace(0, n, parts + 1).astype(int)) for n in outputs.tolist()]
    tokens = np.concatenate([np.diff(c) for c in cuts]).astype(float)
    held = np.concatenate([p + (c[:-1] + c[1:] - 1) / 2 for p, c in zip(prompts.tolist(), cuts, strict=True)])
    most = np.concatenate([p + c[1:] - 1.0 for p, c in zip(prompts.tolist(), cuts, strict=True)])
    owner = np.repeat(np.arange(len(outputs)), [len(c) - 1 for c in cuts])
    levels = _levels(instance, float(prompts.min()), float(most.max()))
    rows, many = len(tokens), len(levels)
    made = np.arange(rows * many).reshape(rows, many)
    steps = rows * many + np.arange(many)
    end = rows * many + many
    seconds = step(levels[:, 0].astype(int)) + kv * levels[:, 1]

    constraints: list[tuple[FloatArray, FloatArray, FloatArray]] = []

    def at_most(columns: list[IntArray], values: list[FloatArray]) -> None:
        constraints.append(
            (np.concatenate(columns), np.concatenate(values), np.full(sum(map(len, columns)), len(constraints)))
        )

    for k in range(many):
        at_most([made[:, k], steps[[k]]], [np.ones(rows), -levels[[k], 0]])
        at_most([made[:, k], steps[[k]]], [held / 1e3, -levels[[k], 1] / 1e3])
    for j in range(len(outputs)):
        mine = made[owner == j]
        at_most([mine.ravel(), np.array([end])], [np.tile(seconds, len(mine)), np.array([-1.0])])
    at_most([steps, np.array([end])], [seconds, np.array([-float(instances)])])
    column, value, row = (np.concatenate(x) for x in zip(*constraints, strict=True))
    prefill = step.seconds_per_prefill_token * prompts
    limit = np.concatenate([np.zeros(2 * many), -prefill, [-prefill.sum()]])
    # A step holds the KV of each request in it, and some of every other.
    others = (levels[:, 0] - 1) * float(prompts.min())
    possible = most[:, None] + others <= levels[:, 1] * (1 + 1e-12)
    upper = np.concatenate([np.where(possible, np.inf, 0.0).ravel(), np.full(many + 1, np.inf)])
    solved = linprog(
        np.append(np.zeros(end), 1.0),
        A_ub=coo_matrix((value, (row, column)), shape=(len(limit), end + 1)).tocsr(),
        b_ub=limit,
        A_eq=coo_matrix(
            (np.ones(made.size), (np.repeat(np.arange(rows), many), made.ravel())), shape=(rows, end + 1)
        ).tocsr(),
        b_eq=tokens,
        bounds=np.stack([np.zeros(end + 1), upper], axis=1),
        method="highs",
    )
    assert solved.status == 0, solved.message
    return float(solved.fun)


def _levels(instance: Instance, least: float, most: float) -> FloatArray:
    """Return pairs (b, S) that a step can have, shape (levels, 2)."""
    capacity = instance.kv_blocks * 16
    grid = []
    for batch in range(1, instance.max_batch + 1):
        low, high = batch * least, min(capacity, batch * most)
        if low <= high:
            # Without a cost of KV only the most of it matters.
            held = np.geomspace(low, high, 10) if instance.step_time.seconds_per_kv_token else np.array([high])
            grid += [(batch, kv) for kv in np.unique(np.append(held, high))]
    return np.array(grid, dtype=np.float64)
