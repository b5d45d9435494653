"""The dispatcher: one loop that lets a policy drive an engine, simulated or real.

What holds for every run:
- every request ends exactly once, finished or aborted (L1);
- the policy is shown columns that do not contain lengths that have not been observed (L9);
- a request is handed to an instance once its admission part allows it, in the order of the policy, and every order is
  total: ties go by sequence (L7).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from makespan.runtime.agenda import Agenda
from makespan.runtime.engine import Ended, Engine
from makespan.runtime.policy_answers import Asking, PolicyError, admitted, estimates_of, moves_of, placed
from makespan.runtime.standstill import Standstill
from makespan.runtime.waiting_lists import WaitingLists
from makespan.runtime.whereabouts import Whereabouts
from makespan.schedulers.admissions import EngineAdmits
from makespan.schedulers.estimates import Estimates, Finished, Information, Watching
from makespan.schedulers.issues import KeepAll
from makespan.schedulers.parts import HOLD
from makespan.schedulers.policy import Policy
from makespan.schedulers.rebalances import Stay
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import BoolArray, IntArray
from makespan.schedulers.view import AWAY, QUEUED, RUNNING, View


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
    plan_s: float = 0.0
    events: int = 0
    _where: Whereabouts = field(init=False)
    _arrived: BoolArray = field(init=False)
    _ended: BoolArray = field(init=False)
    _given_up: BoolArray = field(init=False)
    _estimates: Estimates = field(init=False)
    _waiting: WaitingLists = field(init=False)
    _changed: set[int] = field(init=False, default_factory=set)
    _live: IntArray = field(init=False)
    _live_bytes: bytes = field(init=False)
    _turns_done: IntArray = field(init=False)
    _watching: Watching | None = field(init=False)
    _looks: bool = field(init=False)
    _agenda: Agenda = field(init=False)
    _standstill: Standstill = field(init=False, default_factory=Standstill)

    def __post_init__(self) -> None:
        count = len(self.requests)
        self._arrived = np.zeros(count, dtype=np.bool_)
        self._ended = np.zeros(count, dtype=np.bool_)
        self._given_up = np.zeros(count, dtype=np.bool_)
        self._watching = self.information if isinstance(self.information, Watching) else None
        self._looks = self._watching is not None or self.policy.looks_at_progress
        self._agenda = Agenda(self.requests, self.policy.every_s)
        instances = len(self.engine.cluster)
        self._waiting = WaitingLists(instances)
        self._where = Whereabouts(count, instances)
        self._turns_done = np.zeros(count, dtype=np.int64)
        self._live = np.flatnonzero(self.engine.live)
        self._live_bytes = self.engine.live.tobytes()
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
            self.plan_s = self.plan_s or self.decide_s
            ended = self.engine.wait(self._agenda.next_moment(self.engine.now))
            self._take_note(ended)
            left -= len(ended.rows)
            if len(ended.rows):
                yield ended.rows
            self._standstill.note(ended, self.engine.now)
            if not len(ended.rows) + len(ended.returned) + len(ended.away) and self._stuck():
                held = int((~self._ended).sum())
                raise PolicyError(f"a policy must start work on an idle cluster, got {held} requests held for ever")

    def _take_arrivals(self) -> None:
        new = self._agenda.arrived(self.engine.now)
        if len(new):
            new = new[~self._given_up[new]]
            self._arrived[new] = True
            self._waiting.add(new)
            self.events += len(new)

    def _take_changes(self) -> None:
        """Plan anew what has not started when instances have come or gone."""
        now_live = self.engine.live
        # Asked after every event: bytes compare in a hundredth of the time of arrays.
        if now_live.tobytes() == self._live_bytes:
            return
        live, self._live_bytes = np.flatnonzero(now_live), now_live.tobytes()
        joined = not np.isin(live, self._live).all()
        self._live = live
        # What a lost instance held comes back from the engine; what had yet to be handed over is here.
        self._bring_back(self._waiting.unplace())
        if joined:
            self.engine.recall(np.flatnonzero((self.engine.state == QUEUED) & (self.engine.generated == 0)))

    def _bring_back(self, rows: IntArray) -> None:
        self._changed.update(self._where.bring_back(rows).tolist())
        self._waiting.add(rows[~self._given_up[rows]])

    def _decide(self) -> None:
        if not len(self._live):
            return
        if self._looks:
            self.engine.look()
        if self._watching is not None:
            with Asking("an information source"):
                self._watching.watch(self.engine.generated)
        estimates = estimates_of(self.information, self.requests)
        if estimates is not self._estimates:
            self._estimates = estimates
            self._waiting.believe_anew()
        with Asking("a policy part"):
            self._place()
            self._hand_over()
            self._rebalance()
            self._abort()

    def _view(self) -> View:
        """Return what the policy sees: the instances that are live, numbered from 0."""
        engine = self.engine
        view = View(
            now=engine.now,
            cluster=engine.cluster,
            requests=self.requests,
            estimates=self._estimates,
            instance=self._where.instance,
            arrived=self._arrived,
            ended=self._ended,
            generated=engine.generated,
            state=engine.state,
            in_flight=self._where.in_flight,
            running=engine.running,
            queued=engine.queued,
            kv_blocks_used=engine.kv_blocks_used,
            turns_done=self._turns_done,
            last_instance=self._where.last_instance,
        )
        return view if len(self._live) == len(engine.cluster) else view.only(self._live)

    def _place(self) -> None:
        """Ask for the instances of the requests that wait with the dispatcher."""
        if not len(self._waiting):
            return
        view = self._view()
        where = placed(self.policy, view, self._waiting.in_order(self.policy, view))
        if not len(where):
            return
        held = where == HOLD
        rows, where = self._waiting.take(len(where), held), self._live[where[~held]]
        self._where.place(rows, where)
        if isinstance(self.policy.admission, EngineAdmits):
            self._start(view, rows, where)
            return
        for i in np.unique(where).tolist():
            self._waiting.put(i, rows[where == i])
            self._changed.add(i)

    def _hand_over(self) -> None:
        """Ask for each instance on which something has changed how many of its requests may start."""
        for i in sorted(self._changed):
            if self._waiting.any_placed(i):
                view = self._view()
                rows = self._waiting.placed_in_order(i, self.policy, view)
                count = admitted(self.policy, view, int(np.searchsorted(self._live, i)), rows)
                self._start(view, self._waiting.hand_over(i, count), np.full(count, i))
        self._changed.clear()

    def _start(self, view: View, rows: IntArray, instances: IntArray) -> None:
        if len(rows):
            chunk = self.policy.chunk_tokens
            tokens = None if chunk is None else np.full(len(rows), chunk)
            self.engine.start(rows, instances, self.policy.order.keys(view, rows), tokens)
            self._where.hand_over(rows, instances)
            self.events += len(rows)

    def _rebalance(self) -> None:
        if isinstance(self.policy.rebalance, Stay):
            return
        moves = moves_of(self.policy, self._view())
        if not len(moves.rows):
            return
        # What is about to be aborted stays where it is.
        wanted = ~self._given_up[moves.rows]
        rows, instances = moves.rows[wanted], moves.instances[wanted]
        held = instances == HOLD
        if held.any():
            # They count where they are until they are back.
            self.engine.recall(rows[held])
        if not held.all():
            where = self._live[instances[~held]]
            self.engine.move(rows[~held], where)
            self._where.move(rows[~held], where)
        self.events += len(rows)

    def _abort(self) -> None:
        if isinstance(self.policy.issue, KeepAll):
            return
        aborted = self.policy.issue.abort(self._view())
        aborted = aborted[~self._given_up[aborted]]
        if len(aborted):
            self._given_up[aborted] = True
            self.engine.abort(aborted)
            self._waiting.drop(aborted)

    def _take_note(self, ended: Ended) -> None:
        if len(ended.rows):
            self._ended[ended.rows] = True
            self._changed.update(self._where.end(ended.rows).tolist())
        if len(ended.away):
            self._turns_done[ended.away] += 1
            self._changed.update(self._where.bring_back(ended.away).tolist())
        if len(ended.returned):
            self._bring_back(ended.returned)
        self.events += len(ended.rows) + len(ended.away) + len(ended.returned)
        done = ended.rows[ended.finished]
        if len(done):
            with Asking("an information source"):
                self.information.observe(Finished(done, ended.generated[ended.finished]))

    def _stuck(self) -> bool:
        # Where instances have come or gone since the policy was asked, it is asked again first.
        asked = len(self._live) > 0 and np.array_equal(np.flatnonzero(self.engine.live), self._live)
        idle = asked and not np.isin(self.engine.state, (QUEUED, RUNNING, AWAY)).any()
        return bool(idle and self._agenda.all_arrived and not self._ended.all())
