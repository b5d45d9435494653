"""A slow cluster that makes one step after the other on every instance: what the compiled one is held against.

It is an `Engine` on Python lists, with the rules of `reference_engine` for one instance and none of the jumps. Only its
columns `generated` and `kv_blocks_used` differ: they are those of the last step, not of the beginning of a span.
"""

from math import inf

import numpy as np
from reference_place import Guest, Place

from makespan.runtime.engine import Ended
from makespan.schedulers.instances import Cluster
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import PICOSECONDS
from makespan.schedulers.turns import Turns
from makespan.schedulers.types import BoolArray, FloatArray, IntArray
from makespan.schedulers.view import ABORTED, AWAY, FINISHED, NOWHERE, OUTSIDE, QUEUED, RUNNING

DISPATCHER, ENDS = -1, -2


class ReferenceCluster:
    """Instances that the dispatcher drives.

    Parameters
    ----------
    cluster, requests, output_tokens
        As for `SimulatedCluster`.
    """

    def __init__(self, cluster: Cluster, requests: Requests, output_tokens: IntArray, turns: Turns | None = None) -> None:
        self.cluster = cluster
        self.live: BoolArray = np.ones(len(cluster), dtype=np.bool_)
        self.now = 0.0
        self.guests = [
            Guest(row, int(prompt), int(output), 0.0, 0, 0)
            for row, (prompt, output) in enumerate(zip(requests.prompt_tokens, output_tokens, strict=True))
        ]
        for guest in self.guests:
            guest.turn_end = guest.output
            guest.first_prompt, guest.group = guest.prompt, int(requests.group[guest.row])
            if turns is not None:
                rows = range(int(turns.first[guest.row]), int(turns.first[guest.row + 1]))
                guest.turn_end = int(turns.tokens[rows[0]])
                guest.calls = [
                    (round(float(turns.gap_s[k]) * PICOSECONDS), int(turns.added_tokens[k]), int(turns.tokens[k + 1]))
                    for k in rows[:-1]
                ]
        self.places = [Place(instance) for instance in cluster]
        for place in self.places:
            place.others = [other for other in self.places if other is not place]
        self.clock = 0
        self.turns = 0
        self.news: tuple[list[Guest], list[Guest], list[Guest]] = ([], [], [])

    def column(self, name: str) -> IntArray:
        return np.array([getattr(guest, name) for guest in self.guests], dtype=np.int64)

    @property
    def running(self) -> IntArray:
        return np.array([len(place.running) for place in self.places], dtype=np.int64)

    @property
    def queued(self) -> IntArray:
        return np.array([len(place.waiting) for place in self.places], dtype=np.int64)

    @property
    def kv_blocks_used(self) -> IntArray:
        return np.array([place.used() for place in self.places], dtype=np.int64)

    @property
    def generated(self) -> IntArray:
        return self.column("generated")

    @property
    def state(self) -> IntArray:
        return self.column("state")

    def start(self, rows: IntArray, instances: IntArray, keys: FloatArray, tokens: IntArray | None = None) -> None:
        for k, (row, instance, key) in enumerate(zip(rows.tolist(), instances.tolist(), keys.tolist(), strict=True)):
            guest = self.guests[row]
            guest.key, guest.turn, guest.stop = key, self.turns, guest.turn_end
            if tokens is not None:
                guest.stop = min(guest.turn_end, guest.generated + int(tokens[k]))
            self.turns += 1
            self.put(guest, instance)

    def move(self, rows: IntArray, instances: IntArray) -> None:
        for row, instance in zip(rows.tolist(), instances.tolist(), strict=True):
            guest = self.guests[row]
            if guest.state == RUNNING:
                guest.bound_for = instance
            elif guest.state == QUEUED:
                self.leave_queue(guest)
                self.put(guest, instance)

    def look(self) -> None:
        """Everything is reported after every step."""

    def recall(self, rows: IntArray) -> None:
        for guest in (self.guests[row] for row in rows.tolist()):
            if guest.state == RUNNING:
                guest.bound_for = DISPATCHER
            elif guest.state == QUEUED:
                self.unqueue(guest)
                self.news[1].append(guest)

    def abort(self, rows: IntArray) -> None:
        for guest in (self.guests[row] for row in rows.tolist()):
            if guest.state == RUNNING:
                guest.bound_for = ENDS
            elif guest.state in (OUTSIDE, QUEUED, AWAY):
                self.unqueue(guest)
                self.news = (self.news[0], [other for other in self.news[1] if other is not guest], [])
                guest.state, guest.ended_ps = ABORTED, self.clock
                self.news[0].append(guest)

    def put(self, guest: Guest, instance: int) -> None:
        place = self.places[instance]
        guest.state, guest.place, guest.handed_ps, guest.computed = QUEUED, instance, self.clock, 0
        guest.ready_ps = self.clock + self.cluster.dispatch_latency_ps
        whole = guest.pooled // 16
        if guest.pooled and not (whole and place.memory.has(guest.row, whole)):
            moves = self.cluster.kv_moves
            assert moves is not None
            place.link_free_ps = max(place.link_free_ps, self.clock) + guest.pooled * moves.ps_per_token
            guest.ready_ps = max(guest.ready_ps, place.link_free_ps + moves.latency_ps)
            guest.fetched = True
            guest.moved += guest.pooled
        place.coming.append(guest)
        self.arrive()

    def arrive(self) -> None:
        """Queue those that have come."""
        for place in self.places:
            for guest in [guest for guest in place.coming if guest.ready_ps <= self.clock]:
                place.coming.remove(guest)
                place.waiting.append(guest)
                guest.handed_ps = self.clock

    def leave_queue(self, guest: Guest) -> None:
        place = self.places[guest.place]
        (place.waiting if guest in place.waiting else place.coming).remove(guest)
        guest.fetched = False

    def unqueue(self, guest: Guest) -> None:
        if guest.state == QUEUED:
            self.leave_queue(guest)
        guest.state, guest.place = OUTSIDE, NOWHERE

    def part(self, place: Place) -> None:
        """Send on those that leave an instance, or note what has become of them."""
        for guest in place.part():
            where, guest.bound_for = guest.bound_for, None
            if guest.generated == guest.output or where == ENDS:
                guest.state = FINISHED if guest.generated == guest.output else ABORTED
                guest.ended_ps = self.clock
                self.news[0].append(guest)
                continue
            guest.pooled = guest.computed if self.cluster.kv_moves is not None else 0
            guest.state, guest.computed = OUTSIDE, 0
            if guest.generated == guest.turn_end:
                guest.state, guest.place = AWAY, NOWHERE
                guest.back_ps = self.clock + guest.calls[0][0]
                self.news[2].append(guest)
                continue
            if guest.generated == guest.stop:
                where = DISPATCHER
            else:
                guest.preemptions += 1
            if where == DISPATCHER:
                guest.place = NOWHERE
                self.news[1].append(guest)
            else:
                assert where is not None
                self.put(guest, where)

    def wait(self, until: float = inf) -> Ended:
        if any(self.news):
            return self.report()
        limit = inf if until == inf else round(until * PICOSECONDS)
        while not any(self.news) and limit > self.clock:
            for place in self.places:
                if place.ends_ps is None:
                    self.part(place)
            if any(self.news):
                break
            for place in self.places:
                place.begin(self.clock)
            moments = [place.ends_ps for place in self.places if place.ends_ps is not None]
            moments += [guest.ready_ps for place in self.places for guest in place.coming]
            moments += [guest.back_ps for guest in self.guests if guest.state == AWAY]
            moment = min(moments, default=inf)
            if moment > limit or moment == inf:
                self.clock = self.clock if limit == inf else int(limit)
                break
            self.clock = int(moment)
            self.arrive()
            for place in self.places:
                if place.ends_ps == self.clock:
                    place.end(self.clock)
                    self.part(place)
            if self.clock == limit or any(guest.state == AWAY and guest.back_ps <= self.clock for guest in self.guests):
                break
        self.answer()
        if self.clock == limit:
            self.now = until
        elif self.clock > round(self.now * PICOSECONDS):
            self.now = self.clock / PICOSECONDS
        return self.report()

    def answer(self) -> None:
        """Give back those whose tool has answered."""
        for guest in self.guests:
            if guest.state == AWAY and guest.back_ps <= self.clock:
                _, added, tokens = guest.calls.pop(0)
                guest.prompt += added
                guest.turn_end += tokens
                guest.state = OUTSIDE
                self.news[1].append(guest)

    def report(self) -> Ended:
        ended, returned, away = self.news
        self.news = ([], [], [])
        rows = np.array([guest.row for guest in ended], dtype=np.int64)
        return Ended(
            rows,
            np.array([guest.state == FINISHED for guest in ended], dtype=np.bool_),
            self.generated[rows],
            np.array([guest.row for guest in returned], dtype=np.int64),
            np.array([guest.row for guest in away], dtype=np.int64),
        )
