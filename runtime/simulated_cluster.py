"""The simulated cluster: an `Engine` in virtual time that skips from event to event."""

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np

from makespan.runtime.cluster_steps import (
    advance,
    drop_request,
    empty_instance,
    recall_request,
    send_requests,
    start_requests,
)
from makespan.runtime.elastic_cluster import Change, live_and_changes
from makespan.runtime.engine import Ended, Timeline
from makespan.runtime.engine_state import (
    LEAVE,
    NEVER,
    SPAN,
    Records,
    instance_records,
    request_records,
)
from makespan.runtime.progress import progress
from makespan.runtime.simulated_timeline import timeline_of
from makespan.runtime.tool_calls import ToolCalls
from makespan.schedulers.instances import BLOCK_TOKENS, Cluster
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import PICOSECONDS
from makespan.schedulers.turns import Turns
from makespan.schedulers.types import BoolArray, FloatArray, IntArray
from makespan.schedulers.view import AWAY, FINISHED, OUTSIDE, QUEUED, RUNNING


def check_fits(requests: Requests, output_tokens: IntArray, cluster: Cluster) -> None:
    """Refuse a workload with a request that some instance could never hold.

    The last token of a request never takes KV, so a request needs prompt + output - 1 tokens of it.
    """
    needed = requests.prompt_tokens + output_tokens - 1
    row, smallest = int(needed.argmax()), int(cluster.kv_blocks.min()) * BLOCK_TOKENS
    if needed[row] > smallest:
        raise ValueError(
            f"a request must fit the KV capacity of every instance ({smallest:,} tokens in whole blocks), "
            f"got {needed[row]:,} tokens for request {row}"
        )


class SimulatedCluster:
    """Instances with the scheduling rules of vLLM V1 and a step-time model, advanced in jumps.

    Parameters
    ----------
    cluster
        The instances.
    requests
        What may be started on them.
    output_tokens
        When each request ends. Only the engine and a bound need to know. Shape (n,).
    keep_spans
        Whether to record every span for `spans`.
    changes
        When which instance joins or leaves. One whose first change is to join is not there before. What runs on one
        that leaves ends its step, and goes back to the dispatcher with the tokens it has.
    turns
        After which tokens requests call a tool and leave their instance until it has answered; None for never.
    """

    def __init__(
        self,
        cluster: Cluster,
        requests: Requests,
        output_tokens: IntArray,
        *,
        keep_spans: bool = False,
        changes: Sequence[Change] = (),
        turns: Turns | None = None,
    ) -> None:
        turns = turns or Turns.single(output_tokens)
        turns.check(output_tokens)
        check_fits(requests, output_tokens + turns.added_of_requests, cluster)
        self._live, self._changes = live_and_changes(len(cluster), changes)
        self.cluster = cluster
        self._requests = request_records(requests, output_tokens)
        self._instances, self._tables, self._running = instance_records(cluster)
        self.state: IntArray = self._requests["state"]
        self.running: IntArray = self._instances["running"]
        self.queued: IntArray = self._instances["queued"]
        self.kv_blocks_used: IntArray = self._instances["used_blocks"]
        self._generated: IntArray = self._requests["generated"]
        self._seen = np.zeros(len(requests), dtype=np.int64)
        self._seen_at = -1
        self._back = np.empty(len(requests), dtype=np.int64)
        self._clock = np.zeros(1, dtype=np.int64)
        self._now = 0.0
        self._counter = 0
        self._tools = ToolCalls(turns, self._requests)
        self._dropped: list[int] = []
        self._recalled: list[int] = []
        self._ended = np.empty(len(requests), dtype=np.int64)
        self._moved = np.empty(int(cluster.max_batch.max()), dtype=np.int64)
        self._spans: Any = np.zeros(4096 if keep_spans else 0, dtype=SPAN)
        self._span_count = np.zeros(1, dtype=np.int64)

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self._now

    @property
    def live(self) -> BoolArray:
        """Which of them are there."""
        return self._live

    @property
    def generated(self) -> IntArray:
        """Tokens each request has generated if `look` has just been called, else as of when its instance's span began."""
        return self._seen if self._seen_at == self._clock[0] else self._generated

    def look(self) -> None:
        """Bring `generated` up to date, which is until time passes."""
        self._seen_at = int(self._clock[0])
        progress(self._requests, self._instances, self._running, self._tables, self._seen_at, self._seen)

    def start(self, rows: IntArray, instances: IntArray, keys: FloatArray, tokens: IntArray | None = None) -> None:
        """Hand requests to instances, each for so many new tokens at most; a smaller key is admitted earlier."""
        if not (self.state[rows] == OUTSIDE).all():
            raise ValueError("a request must be started once, got one that is already inside an instance")
        self._counter = start_requests(
            self._requests,
            self._instances,
            self._running,
            self._tables,
            rows,
            instances,
            keys,
            np.full(len(rows), NEVER) if tokens is None else tokens,
            self._counter,
            int(self._clock[0]),
        )

    def move(self, rows: IntArray, instances: IntArray) -> None:
        """Take requests to other instances; running ones leave at the next boundary between steps."""
        now = int(self._clock[0])
        send_requests(self._requests, self._instances, self._running, self._tables, rows, instances, now)

    def abort(self, rows: IntArray) -> None:
        """End requests: running ones at the next boundary between steps, others at once; `wait` reports them."""
        state = self.state[rows]
        inside = rows[state == RUNNING]
        send_requests(
            self._requests,
            self._instances,
            self._running,
            self._tables,
            inside,
            np.full(len(inside), LEAVE),
            int(self._clock[0]),
        )
        self._recalled = [row for row in self._recalled if row not in rows]
        for row in rows[(state <= QUEUED) | (state == AWAY)]:
            drop_request(self._requests, self._instances, self._tables, row, int(self._clock[0]))
            self._dropped.append(int(row))

    def recall(self, rows: IntArray) -> None:
        """Take requests back, running ones at the next boundary between steps; `wait` reports them."""
        now = int(self._clock[0])
        out = [row for row in rows.tolist() if recall_request(self._requests, self._instances, self._tables, row, now)]
        self._recalled += out

    def wait(self, until: float = inf) -> Ended:
        """Advance to the next moment at which some request ends, but not beyond `until`."""
        if self._dropped or self._recalled:
            dropped, recalled = np.array(self._dropped, dtype=np.int64), np.array(self._recalled, dtype=np.int64)
            self._dropped, self._recalled = [], []
            return self._report(dropped, recalled, dropped[:0])
        change = self._changes[0] if self._changes and self._changes[0].at <= until else None
        if change is not None:
            until = change.at
        limit, before = NEVER if until == inf else round(until * PICOSECONDS), int(self._clock[0])
        answer = self._tools.next_answer()
        while True:
            found, returned, full = advance(
                self._requests,
                self._instances,
                self._running,
                self._tables,
                self._clock,
                min(limit, answer),
                self._ended,
                self._moved,
                self._spans,
                self._span_count,
                self._back,
                self._seen,
            )
            if not full:
                break
            self._spans = np.concatenate([self._spans, np.zeros_like(self._spans)])
        if int(self._clock[0]) == limit:
            self._now = until
        elif int(self._clock[0]) > before:
            self._now = int(self._clock[0]) / PICOSECONDS
        back = self._back[:returned].copy()
        away = back[:0]
        if self._tools.any_calls:
            away, back = self._call_tools(back)
        if change is not None and int(self._clock[0]) >= limit:
            self._changes.pop(0)
            self._live[change.instance] = change.live
            if not change.live:
                count = empty_instance(self._requests, self._instances, self._tables, change.instance, limit, self._back)
                back = np.concatenate([back, self._back[:count]])
        return self._report(self._ended[:found].copy(), back, away)

    def _call_tools(self, left: IntArray) -> tuple[IntArray, IntArray]:
        """Return which of the requests that have just left are away, and which are back, with those of earlier calls."""
        now, state = int(self._clock[0]), self.state[left]
        away = left[state == AWAY]
        self._tools.call(away, now)
        return away, np.concatenate([left[state == OUTSIDE], self._tools.answered(now)])

    def _report(self, rows: IntArray, returned: IntArray, away: IntArray) -> Ended:
        return Ended(rows, self.state[rows] == FINISHED, self._generated[rows], returned, away)

    def spans(self) -> Records:
        """Return the recorded spans in the order in which they ended."""
        recorded: Records = self._spans[: int(self._span_count[0])]
        return recorded

    def timeline(self) -> Timeline:
        """Return what has happened to every request and instance."""
        return timeline_of(self._requests, self._instances)
