"""The compiled operations of the simulated cluster: hand over, send away, drop, and let time pass."""

from makespan.runtime.arriving import arrive, next_arrival, put_in, withdraw
from makespan.runtime.compiled import compiled
from makespan.runtime.engine_state import BACK, HELD, NEVER, NOTHING, STAY, Records
from makespan.runtime.leaving import let_leave, take_out
from makespan.runtime.spans import begin, finish, shorten
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import ABORTED, AWAY, OUTSIDE, QUEUED, RUNNING


@compiled
def start_requests(
    requests: Records,
    instances: Records,
    running: IntArray,
    tables: IntArray,
    rows: IntArray,
    where: IntArray,
    keys: FloatArray,
    tokens: IntArray,
    counter: int,
    now: int,
) -> int:
    """Put requests into the queues of their instances, in this order, each for so many tokens; returns the next counter."""
    for k in range(len(rows)):
        requests[rows[k]].stop = min(requests[rows[k]].turn_end, requests[rows[k]].generated + tokens[k])
        requests[rows[k]].key = keys[k]
        requests[rows[k]].counter = counter
        counter += 1
        put_in(requests, instances, running, tables, where[k], rows[k], now)
    return counter


@compiled
def send_requests(
    requests: Records, instances: Records, running: IntArray, tables: IntArray, rows: IntArray, exits: IntArray, now: int
) -> None:
    """Let running requests leave at the next boundary between steps, and take waiting ones elsewhere at once."""
    for k in range(len(rows)):
        row = rows[k]
        if requests[row].state == RUNNING:
            _leave_soon(requests, instances, tables, row, exits[k], now)
        elif requests[row].state == QUEUED:
            withdraw(requests, instances, tables, row, now)
            put_in(requests, instances, running, tables, exits[k], row, now)


@compiled
def drop_request(requests: Records, instances: Records, tables: IntArray, row: int, now: int) -> None:
    """Abort a request that is not running."""
    if requests[row].state == QUEUED:
        withdraw(requests, instances, tables, row, now)
    requests[row].state = ABORTED
    requests[row].ended_ps = now


@compiled
def recall_request(requests: Records, instances: Records, tables: IntArray, row: int, now: int) -> bool:
    """Take a request back: a running one at the next boundary between steps, else at once. Returns whether it is out."""
    if requests[row].state == RUNNING:
        _leave_soon(requests, instances, tables, row, HELD, now)
    if requests[row].state != QUEUED:
        return False
    withdraw(requests, instances, tables, row, now)
    requests[row].state = OUTSIDE
    requests[row].instance = NOTHING
    return True


@compiled
def empty_instance(requests: Records, instances: Records, tables: IntArray, i: int, now: int, back: IntArray) -> int:
    """Let everything leave instance `i`: what waits at once, into `back`, what runs at the next boundary between steps.

    What is on its way to it from elsewhere turns back as well. Returns how many rows are in `back`.
    """
    count = 0
    while instances[i].root != NOTHING or instances[i].first_coming != NOTHING:
        row = instances[i].root if instances[i].root != NOTHING else instances[i].first_coming
        withdraw(requests, instances, tables, row, now)
        requests[row].state = OUTSIDE
        requests[row].instance = NOTHING
        back[count] = row
        count += 1
    for row in range(len(requests)):
        request = requests[row]
        if request.state == RUNNING and request.instance == i and request.exit in (i, STAY, HELD):
            _leave_soon(requests, instances, tables, row, BACK, now)
        elif request.state == RUNNING and request.exit == i:
            _leave_soon(requests, instances, tables, row, HELD, now)
    return count


@compiled
def _leave_soon(requests: Records, instances: Records, tables: IntArray, row: int, target: int, now: int) -> None:
    i = requests[row].instance
    requests[row].exit = target
    instances[i].someone_leaves = 1
    shorten(instances, tables, i, now)


@compiled
def advance(
    requests: Records,
    instances: Records,
    running: IntArray,
    tables: IntArray,
    clock: IntArray,
    limit: int,
    ended: IntArray,
    moved: IntArray,
    spans: Records,
    span_count: IntArray,
    back: IntArray,
) -> tuple[int, int, bool]:
    """Run until requests end or come back or `limit` is reached.

    Returns how many ended, how many came back, and whether `spans` must grow first.
    """
    if limit <= clock[0]:
        return 0, 0, False
    while True:
        if len(spans) > 0 and span_count[0] + 2 * len(instances) > len(spans):
            return 0, 0, True
        found = 0
        returned = 0
        for k in range(len(instances)):
            i = instances[k].in_turn
            # What ends or leaves at this very moment does so before the next steps begin.
            if instances[i].span_end == clock[0]:
                found, returned = _finish_and_send(
                    requests, instances, running, tables, i, ended, found, moved, spans, span_count, back, returned
                )
            elif instances[i].someone_leaves and instances[i].span_end == NEVER:
                found, leaving = let_leave(requests, instances, running, tables, i, clock[0], ended, found, moved)
                returned = _send_on(requests, instances, running, tables, moved[:leaving], clock[0], back, returned)
        if found > 0 or returned > 0:
            return found, returned, False
        next_end = NEVER
        for i in range(len(instances)):
            if instances[i].span_end == NEVER:
                begin(requests, instances, running, tables, i, clock[0])
            next_end = min(next_end, instances[i].span_end, next_arrival(requests, instances, i, NEVER))
        if next_end > limit or next_end == NEVER:
            if limit != NEVER:
                clock[0] = limit
            return 0, 0, False
        clock[0] = next_end
        for k in range(len(instances)):
            i = instances[k].in_turn
            arrive(requests, instances, tables, i, next_end)
            if instances[i].span_end == next_end:
                found, returned = _finish_and_send(
                    requests, instances, running, tables, i, ended, found, moved, spans, span_count, back, returned
                )
        if found > 0 or returned > 0 or next_end == limit:
            return found, returned, False


@compiled
def _finish_and_send(
    requests: Records,
    instances: Records,
    running: IntArray,
    tables: IntArray,
    i: int,
    ended: IntArray,
    found: int,
    moved: IntArray,
    spans: Records,
    span_count: IntArray,
    back: IntArray,
    returned: int,
) -> tuple[int, int]:
    """End the span of instance `i` and send on what leaves it; returns how many have ended and come back until now."""
    now = instances[i].span_end
    if len(spans) > 0:
        record_span(instances, spans, span_count, i)
    found, leaving = finish(requests, instances, running, tables, i, ended, found, moved)
    return found, _send_on(requests, instances, running, tables, moved[:leaving], now, back, returned)


@compiled
def _send_on(
    requests: Records,
    instances: Records,
    running: IntArray,
    tables: IntArray,
    rows: IntArray,
    now: int,
    back: IntArray,
    returned: int,
) -> int:
    """Hand requests that have just left to where they are bound; those for the dispatcher or a tool go into `back`.

    Returns how many are there, with the `returned` that were there before.
    """
    for row in rows:
        target = take_out(requests, instances, row)
        requests[row].preemptions += target != STAY
        if requests[row].generated == requests[row].turn_end:
            requests[row].state = AWAY
        if target in (BACK, HELD, STAY):
            back[returned] = row
            returned += 1
        else:
            put_in(requests, instances, running, tables, target, row, now)
    return returned


@compiled
def record_span(instances: Records, spans: Records, span_count: IntArray, i: int) -> None:
    """Write the span of instance `i`, which is about to end, into the log."""
    span = spans[span_count[0]]
    span.instance = i
    span.start_ps = instances[i].span_start
    span.end_ps = instances[i].span_end
    span.batch = instances[i].span_batch
    span.steps = instances[i].span_steps
    span.prefill = instances[i].span_prefill
    span.recompute = instances[i].span_recompute
    span_count[0] += 1
