"""The dispatcher: one loop that lets a policy drive an engine, simulated or real.

What holds for every run:
- every request ends exactly once, finished or aborted (L1);
- the policy is shown columns that do not contain lengths that have not been observed (L9);
- a request is handed to an instance once its admission part allows it, in the order of the policy, and every order is
  total: ties go by sequence (L7).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from time import perf_counter

import numpy as np

from makespan.runtime.engine import Ended, Engine
from makespan.schedulers.admissions import EngineAdmits
from makespan.schedulers.estimates import Estimates, Finished, Information, Watching
from makespan.schedulers.issues import KeepAll
from makespan.schedulers.parts import HOLD, Moves
from makespan.schedulers.policy import Policy
from makespan.schedulers.rebalances import Stay
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import BoolArray, IntArray
from makespan.schedulers.view import NOWHERE, QUEUED, RUNNING, View


class PolicyError(RuntimeError):
    """A policy gave an answer that cannot be carried out, or raised."""


def estimates_of(information: Information, requests: Requests) -> Estimates:
    """Return what `information` believes, or raise `PolicyError` where it raises or believes something else."""
    try:
        estimates = information.estimate(requests)
        known = len(estimates.point)
    except Exception as error:
        raise PolicyError(f"an information source raised {type(error).__name__}: {error}") from error
    if known != len(requests):
        raise PolicyError(f"an information source must estimate {len(requests)} requests, got {known}")
    return estimates


@dataclass(slots=True, eq=False)
class Dispatcher:
    """Drives `engine` by `policy` until every request has ended.

    Parameters
    ----------
    requests
        What is to be generated.
    engine
        Where.
    policy
        Who decides.
    information
        Who knows.
    """

    requests: Requests
    engine: Engine
    policy: Policy
    information: Information
    decide_s: float = 0.0
    events: int = 0
    _instance: IntArray = field(init=False)
    _arrived: BoolArray = field(init=False)
    _ended: BoolArray = field(init=False)
    _given_up: BoolArray = field(init=False)
    _arrivals: IntArray = field(init=False)
    _next_arrival: int = 0
    _estimates: Estimates = field(init=False)
    _waiting: IntArray = field(init=False)
    _waiting_sorted: bool = True
    _placed: list[IntArray] = field(init=False)
    _placed_sorted: BoolArray = field(init=False)
    _in_flight: IntArray = field(init=False)
    _changed: set[int] = field(init=False, default_factory=set)
    _live: IntArray = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.requests)
        self._instance = np.full(count, NOWHERE, dtype=np.int64)
        self._arrived = np.zeros(count, dtype=np.bool_)
        self._ended = np.zeros(count, dtype=np.bool_)
        self._given_up = np.zeros(count, dtype=np.bool_)
        self._arrivals = np.lexsort((self.requests.sequence, self.requests.arrival))
        self._waiting = np.empty(0, dtype=np.int64)
        instances = len(self.engine.cluster)
        self._placed = [np.empty(0, dtype=np.int64) for _ in range(instances)]
        self._placed_sorted = np.ones(instances, dtype=np.bool_)
        self._in_flight = np.zeros(instances, dtype=np.int64)
        self._live = np.flatnonzero(self.engine.live)
        self._estimates = estimates_of(self.information, self.requests)

    def run(self) -> None:
        """Dispatch until every request has ended."""
        for _ in self.stream():
            pass

    def stream(self) -> Iterator[IntArray]:
        """Dispatch until every request has ended, giving the rows of those that end as they do."""
        left = len(self.requests)
        while left:
            self._take_arrivals()
            self._take_changes()
            started = perf_counter()
            self._decide()
            self.decide_s += perf_counter() - started
            ended = self.engine.wait(self._next_arrival_time())
            self._take_note(ended)
            left -= len(ended.rows)
            if len(ended.rows):
                yield ended.rows
            if not len(ended.rows) + len(ended.returned) and self._stuck():
                held = int((~self._ended).sum())
                raise PolicyError(f"a policy must start work on an idle cluster, got {held} requests held for ever")

    def _next_arrival_time(self) -> float:
        if self._next_arrival == len(self._arrivals):
            return inf
        return float(self.requests.arrival[self._arrivals[self._next_arrival]])

    def _take_arrivals(self) -> None:
        first = self._next_arrival
        while self._next_arrival_time() <= self.engine.now:
            self._next_arrival += 1
        if self._next_arrival > first:
            new = self._arrivals[first : self._next_arrival]
            new = new[~self._given_up[new]]
            self._arrived[new] = True
            self._waiting = np.concatenate([self._waiting, new])
            self._waiting_sorted = False
            self.events += len(new)

    def _take_changes(self) -> None:
        """Plan anew what has not started when instances have come or gone."""
        live = np.flatnonzero(self.engine.live)
        if np.array_equal(live, self._live):
            return
        joined = not np.isin(live, self._live).all()
        self._live = live
        # What a lost instance held comes back from the engine; what had yet to be handed over is here.
        self._bring_back(np.concatenate(self._placed))
        self._placed = [rows[:0] for rows in self._placed]
        if joined:
            self.engine.recall(np.flatnonzero(self.engine.state == QUEUED))

    def _bring_back(self, rows: IntArray) -> None:
        np.add.at(self._in_flight, self._instance[rows], -1)
        self._instance[rows] = NOWHERE
        self._waiting = np.concatenate([self._waiting, rows[~self._given_up[rows]]])
        self._waiting_sorted = False

    def _decide(self) -> None:
        if not len(self._live):
            return
        if isinstance(self.information, Watching):
            try:
                self.information.watch(self.engine.generated)
            except Exception as error:
                raise PolicyError(f"an information source raised {type(error).__name__}: {error}") from error
        estimates = estimates_of(self.information, self.requests)
        if estimates is not self._estimates:
            self._estimates = estimates
            self._waiting_sorted = False
            self._placed_sorted[:] = False
        try:
            self._place()
            self._hand_over()
            self._rebalance()
            self._abort()
        except PolicyError:
            raise
        except Exception as error:
            raise PolicyError(f"a policy part raised {type(error).__name__}: {error}") from error

    def _view(self) -> View:
        """Return what the policy sees: the instances that are live, numbered from 0."""
        engine = self.engine
        view = View(
            now=engine.now,
            cluster=engine.cluster,
            requests=self.requests,
            estimates=self._estimates,
            instance=self._instance,
            arrived=self._arrived,
            ended=self._ended,
            generated=engine.generated,
            state=engine.state,
            in_flight=self._in_flight,
            running=engine.running,
            queued=engine.queued,
            kv_blocks_used=engine.kv_blocks_used,
        )
        return view if len(self._live) == len(engine.cluster) else view.only(self._live)

    def _place(self) -> None:
        """Ask for the instances of the requests that wait with the dispatcher."""
        if not len(self._waiting):
            return
        view = self._view()
        if not self._waiting_sorted:
            self._waiting = self.policy.ordered(view, self._waiting)
            self._waiting_sorted = True
        where = np.asarray(self.policy.placement.place(view, self._waiting), dtype=np.int64)
        if not len(where):
            return
        if len(where) > len(self._waiting) or where.max() >= len(view.cluster) or where.min() < HOLD:
            raise PolicyError(
                f"a placement must name instances 0 to {len(view.cluster) - 1} for at most {len(self._waiting)} rows, "
                f"got {len(where)} from {where.min()} to {where.max()}"
            )
        rows, self._waiting = self._waiting[: len(where)], self._waiting[len(where) :]
        held = where == HOLD
        if held.any():
            self._waiting = np.concatenate([rows[held], self._waiting])
            rows, where = rows[~held], where[~held]
        where = self._live[where]
        self._instance[rows] = where
        np.add.at(self._in_flight, where, 1)
        if isinstance(self.policy.admission, EngineAdmits):
            self._start(view, rows, where)
            return
        for i in np.unique(where):
            self._placed[i] = np.concatenate([self._placed[i], rows[where == i]])
            self._placed_sorted[i] = False
            self._changed.add(int(i))

    def _hand_over(self) -> None:
        """Ask for each instance on which something has changed how many of its requests may start."""
        for i in sorted(self._changed):
            rows = self._placed[i]
            if len(rows):
                view = self._view()
                if not self._placed_sorted[i]:
                    rows = self.policy.ordered(view, rows)
                    self._placed_sorted[i] = True
                count = self.policy.admission.admit(view, int(np.searchsorted(self._live, i)), rows)
                if not 0 <= count <= len(rows):
                    raise PolicyError(f"an admission must admit 0 to {len(rows)} requests, got {count}")
                self._start(view, rows[:count], np.full(count, i))
                self._placed[i] = rows[count:]
        self._changed.clear()

    def _start(self, view: View, rows: IntArray, instances: IntArray) -> None:
        if len(rows):
            self.engine.start(rows, instances, self.policy.order.keys(view, rows))
            self.events += len(rows)

    def _rebalance(self) -> None:
        if isinstance(self.policy.rebalance, Stay):
            return
        moves = self.policy.rebalance.move(self._view())
        if len(moves.rows):
            self._check(moves)
            where = self._live[moves.instances]
            self.engine.move(moves.rows, where)
            np.add.at(self._in_flight, self._instance[moves.rows], -1)
            np.add.at(self._in_flight, where, 1)
            self._instance[moves.rows] = where
            self.events += len(moves.rows)

    def _check(self, moves: Moves) -> None:
        """Refuse moves that the engine, which does not check them, could not carry out."""
        count = len(self._live)
        if len(moves.rows) != len(moves.instances) or not ((moves.instances >= 0) & (moves.instances < count)).all():
            raise PolicyError(
                f"a rebalance must name an instance 0 to {count - 1} for each of {len(moves.rows)} rows, "
                f"got {moves.instances.tolist()[:5]}"
            )
        if not np.isin(self.engine.state[moves.rows], (QUEUED, RUNNING)).all():
            raise PolicyError(
                f"a rebalance must move requests that are inside an instance, got rows {moves.rows.tolist()[:5]}"
            )

    def _abort(self) -> None:
        if isinstance(self.policy.issue, KeepAll):
            return
        aborted = self.policy.issue.abort(self._view())
        aborted = aborted[~self._given_up[aborted]]
        if len(aborted):
            self._given_up[aborted] = True
            self.engine.abort(aborted)
            self._waiting = self._waiting[~np.isin(self._waiting, aborted)]
            self._placed = [rows[~np.isin(rows, aborted)] for rows in self._placed]

    def _take_note(self, ended: Ended) -> None:
        self._ended[ended.rows] = True
        self.events += len(ended.rows)
        where = self._instance[ended.rows]
        where = where[where != NOWHERE]
        np.add.at(self._in_flight, where, -1)
        self._changed.update(where.tolist())
        if len(ended.returned):
            self._changed.update(self._instance[ended.returned].tolist())
            self._bring_back(ended.returned)
        done = ended.rows[ended.finished]
        if len(done):
            try:
                self.information.observe(Finished(done, ended.generated[ended.finished]))
            except Exception as error:
                raise PolicyError(f"an information source raised {type(error).__name__}: {error}") from error

    def _stuck(self) -> bool:
        # Where instances have come or gone since the policy was asked, it is asked again first.
        asked = len(self._live) > 0 and np.array_equal(np.flatnonzero(self.engine.live), self._live)
        idle = asked and not (self.engine.running + self.engine.queued).any()
        return bool(idle and self._next_arrival == len(self._arrivals) and not self._ended.all())
