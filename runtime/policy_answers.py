"""What a policy and its information source answer, checked before it is carried out."""

from types import TracebackType

import numpy as np

from makespan.schedulers.estimates import Estimates, Information
from makespan.schedulers.parts import HOLD, Moves
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import QUEUED, RUNNING, View


class PolicyError(RuntimeError):
    """A policy gave an answer that cannot be carried out, or raised."""


class Asking:
    """Makes whatever `whom` raises a `PolicyError`. Entered several times an event, so no generator."""

    __slots__ = ("_whom",)

    def __init__(self, whom: str) -> None:
        self._whom = whom

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, PolicyError):
            raise PolicyError(f"{self._whom} raised {type(error).__name__}: {error}") from error


def estimates_of(information: Information, requests: Requests) -> Estimates:
    """Return what `information` believes, or raise `PolicyError` where it raises or believes something else."""
    with Asking("an information source"):
        estimates = information.estimate(requests)
        known = len(estimates.point)
    if known != len(requests):
        raise PolicyError(f"an information source must estimate {len(requests)} requests, got {known}")
    return estimates


def placed(policy: Policy, view: View, rows: IntArray) -> IntArray:
    """Return where the policy wants the first of `rows`, each an instance or `HOLD`."""
    where = np.asarray(policy.placement.place(view, rows), dtype=np.int64)
    if len(where) and (len(where) > len(rows) or where.max() >= len(view.cluster) or where.min() < HOLD):
        raise PolicyError(
            f"a placement must name instances 0 to {len(view.cluster) - 1} for at most {len(rows)} rows, "
            f"got {len(where)} from {where.min()} to {where.max()}"
        )
    return where


def admitted(policy: Policy, view: View, instance: int, rows: IntArray) -> int:
    """Return how many of `rows`, placed on `instance`, may be handed to it."""
    count = policy.admission.admit(view, instance, rows)
    if not 0 <= count <= len(rows):
        raise PolicyError(f"an admission must admit 0 to {len(rows)} requests, got {count}")
    return count


def moves_of(policy: Policy, view: View) -> Moves:
    """Return the moves that the policy wants; an engine does not check them."""
    moves = policy.rebalance.move(view)
    if not len(moves.rows):
        return moves
    count = len(view.cluster)
    if len(moves.rows) != len(moves.instances) or not ((moves.instances >= HOLD) & (moves.instances < count)).all():
        raise PolicyError(
            f"a rebalance must hold or name an instance 0 to {count - 1} for each of {len(moves.rows)} rows, "
            f"got {moves.instances.tolist()[:5]}"
        )
    if len(set(moves.rows.tolist())) < len(moves.rows):
        raise PolicyError(f"a rebalance must name a row once, got rows {moves.rows.tolist()[:5]}")
    state = view.state[moves.rows]
    if not ((state == QUEUED) | (state == RUNNING)).all():
        raise PolicyError(f"a rebalance must move requests that are inside an instance, got rows {moves.rows.tolist()[:5]}")
    return moves
