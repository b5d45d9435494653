"""Conformance: what every policy must do, to be called from a plug-in author's own tests.

>>> from makespan.schedulers.testing import check_policy
>>> from makespan.schedulers.catalog import lpt
>>> check_policy(lpt)
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makespan.schedulers.estimates import Estimates
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.parts import HOLD
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import FINISHED, OUTSIDE, QUEUED, RUNNING, View


class BrokenContract(AssertionError):
    """A policy part gave an answer that its Protocol does not allow."""


def check_policy(policy: Policy, *, seed: int = 0, views: int = 12) -> None:
    """Ask every part of `policy` about a few states of a stage and raise `BrokenContract` if an answer is not allowed.

    Parameters
    ----------
    policy
        The policy to check.
    seed
        Of the states that are drawn.
    views
        How many states.

    Notes
    -----
    Checked are: shapes and ranges of all answers; that asking changes nothing (columns are read-only here) and that
    asking twice gives the same; that relabelling requests and instances relabels the answers and changes nothing
    else (law L7), for policies that place at once.
    """
    for view in _states(seed, views):
        waiting = np.flatnonzero(view.arrived & (view.instance < 0))
        rows = _twice("order", partial(policy.ordered, view, waiting))
        where = _twice("placement", partial(policy.placement.place, view, rows))
        _require(len(where) <= len(rows), f"a placement must not name more than {len(rows)} instances, got {len(where)}")
        _require(
            bool(((where >= HOLD) & (where < len(view.cluster))).all()),
            f"a placement must name instances 0 to {len(view.cluster) - 1} or hold, got {where.tolist()}",
        )
        for i in range(len(view.cluster)):
            count = policy.admission.admit(view, i, rows)
            _require(0 <= count <= len(rows), f"an admission must admit 0 to {len(rows)} requests, got {count}")
        moves = policy.rebalance.move(view)
        _require(
            bool(np.isin(view.state[moves.rows], (QUEUED, RUNNING)).all()) and len(moves.rows) == len(moves.instances),
            f"a rebalance must move requests that are inside an instance, got rows {moves.rows.tolist()}",
        )
        _require(
            bool(((moves.instances >= HOLD) & (moves.instances < len(view.cluster))).all()),
            f"a rebalance must name instances 0 to {len(view.cluster) - 1} or hold, got {moves.instances.tolist()}",
        )
        aborted = policy.issue.abort(view)
        _require(not view.ended[aborted].any(), f"an issue must abort unfinished requests, got rows {aborted.tolist()}")
    if policy.decides_once:
        _check_relabelling(policy, seed)


def _check_relabelling(policy: Policy, seed: int) -> None:
    rng = np.random.default_rng(seed)
    view = next(_states(seed, 1, mixed=False))
    count, instances = len(view.requests), len(view.cluster)
    rows, places = rng.permutation(count), rng.permutation(instances)
    relabelled = View.at_start(
        view.cluster.only(places),
        view.requests.take(rows),
        Estimates(view.estimates.point[rows], "drawn"),
    )
    start = View.at_start(view.cluster, view.requests, view.estimates)
    everything = np.arange(count)
    before = policy.ordered(start, everything)
    after = policy.ordered(relabelled, everything)
    _require(np.array_equal(rows[after], before), "an order must not depend on the labels of requests, got one that does")
    there = places[policy.placement.place(relabelled, after)]
    _require(
        np.array_equal(there, policy.placement.place(start, before)),
        "a placement must not depend on labels of requests or instances, got one that does",
    )


def _twice(part: str, ask: Callable[[], IntArray]) -> IntArray:
    first, second = ask(), ask()
    _require(
        isinstance(first, np.ndarray) and first.dtype == np.int64, f"a {part} must return an int64 array, got {first!r}"
    )
    _require(np.array_equal(first, second), f"a {part} must give one answer to one question, got two")
    return first


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise BrokenContract(message)


def _states(seed: int, count: int, *, mixed: bool = True) -> Iterator[View]:
    """Yield states in the middle of a stage: some requests wait, some are queued or run, some have ended."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        size, instances = int(rng.integers(8, 40)), int(rng.integers(1, 6))
        cluster = Cluster.uniform(Instance(StepTime((1, 8), (0.01, 0.02), 1e-7, 1e-5), 16_000, max_batch=4), instances)
        requests = Requests.of(
            rng.integers(1, 200, size), np.full(size, 400), group=rng.integers(0, size, size), sequence=rng.permutation(size)
        )
        state = rng.choice([OUTSIDE, QUEUED, RUNNING, FINISHED], size) if mixed else np.full(size, OUTSIDE)
        inside = state != OUTSIDE
        instance = np.where(inside, rng.integers(0, instances, size), -1)
        running = np.bincount(instance[state == RUNNING], minlength=instances)
        queued = np.bincount(instance[state == QUEUED], minlength=instances)
        columns = {
            "instance": instance,
            "arrived": np.ones(size, dtype=np.bool_),
            "ended": state == FINISHED,
            "generated": np.where(state >= RUNNING, rng.integers(1, 50, size), 0),
            "state": state.astype(np.int64),
            "in_flight": running + queued,
            "running": running,
            "queued": queued,
            "kv_blocks_used": rng.integers(0, 100, instances),
            "turns_done": rng.integers(0, 4, size),
            "last_instance": np.where(inside, instance, rng.integers(-1, instances, size)),
        }
        estimates = Estimates(rng.integers(1, 400, size).astype(np.float64), "drawn")
        yield View(0.0, cluster, requests, estimates, **{name: _read_only(column) for name, column in columns.items()})


def _read_only(column: NDArray[Any]) -> NDArray[Any]:
    column.flags.writeable = False
    return column
