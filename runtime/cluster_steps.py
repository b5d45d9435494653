"""The compiled operations of the simulated cluster: hand over, send away, drop, and let time pass."""

from makespan.runtime.compiled import compiled
from makespan.runtime.engine_state import BACK, NEVER, NOTHING, STAY, Records
from makespan.runtime.spans import begin, finish, put_in, shorten, take_out
from makespan.runtime.waiting_heap import remove
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import ABORTED, OUTSIDE, QUEUED, RUNNING


@compiled
def start_requests(
    requests: Records,
    instances: Records,
    tables: IntArray,
    rows: IntArray,
    where: IntArray,
    keys: FloatArray,
    counter: int,
    now: int,
) -> int:
    """Put requests into the queues of their instances, in this order; returns the next counter."""
    for k in range(len(rows)):
        requests[rows[k]].key = keys[k]
        requests[rows[k]].counter = counter
        counter += 1
        put_in(requests, instances, tables, where[k], rows[k], now)
    return counter


@compiled
def send_requests(
    requests: Records, instances: Records, tables: IntArray, rows: IntArray, exits: IntArray, now: int
) -> None:
    """Let running requests leave when their span ends, and take waiting ones elsewhere at once."""
    for k in range(len(rows)):
        row = rows[k]
        i = requests[row].instance
        if requests[row].state == RUNNING:
            requests[row].exit = exits[k]
            instances[i].someone_leaves = 1
            shorten(instances, tables, i, now)
        elif requests[row].state == QUEUED:
            instances[i].root = remove(requests, instances[i].root, row)
            instances[i].queued -= 1
            put_in(requests, instances, tables, exits[k], row, now)


@compiled
def drop_request(requests: Records, instances: Records, row: int, now: int) -> None:
    """Abort a request that is not running."""
    if requests[row].state == QUEUED:
        _take_out(requests, instances, row)
    requests[row].state = ABORTED
    requests[row].ended_ps = now


@compiled
def recall_request(requests: Records, instances: Records, row: int) -> bool:
    """Take a request that has never run out of its instance; returns whether it was there and had not run."""
    if requests[row].state != QUEUED or requests[row].admitted_ps != NOTHING:
        return False
    _take_out(requests, instances, row)
    requests[row].state = OUTSIDE
    requests[row].instance = -1
    return True


@compiled
def empty_instance(requests: Records, instances: Records, tables: IntArray, i: int, now: int, back: IntArray) -> int:
    """Let everything leave instance `i`: what waits at once, into `back`, what runs at the next boundary between steps.

    What is on its way to it from elsewhere turns back as well. Returns how many rows are in `back`.
    """
    count = 0
    while instances[i].root != NOTHING:
        row = instances[i].root
        _take_out(requests, instances, row)
        requests[row].state = OUTSIDE
        requests[row].instance = NOTHING
        back[count] = row
        count += 1
    for row in range(len(requests)):
        request = requests[row]
        if request.state == RUNNING and (request.exit == i or (request.instance == i and request.exit == STAY)):
            request.exit = BACK
            instances[request.instance].someone_leaves = 1
    shorten(instances, tables, i, now)
    return count


@compiled
def _take_out(requests: Records, instances: Records, row: int) -> None:
    i = requests[row].instance
    instances[i].root = remove(requests, instances[i].root, row)
    instances[i].queued -= 1


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
        if len(spans) > 0 and span_count[0] + len(instances) > len(spans):
            return 0, 0, True
        next_end = NEVER
        for i in range(len(instances)):
            if instances[i].span_end == NEVER and instances[i].someone_leaves:
                # Between two of its steps: what is to leave does so now, in a span of no steps.
                instances[i].span_end = clock[0]
            elif instances[i].span_end == NEVER:
                begin(requests, instances, running, tables, i, clock[0])
            next_end = min(next_end, instances[i].span_end)
        if next_end > limit or next_end == NEVER:
            if limit != NEVER:
                clock[0] = limit
            return 0, 0, False
        clock[0] = next_end
        found = 0
        returned = 0
        for i in range(len(instances)):
            if instances[i].span_end != next_end:
                continue
            if len(spans) > 0 and instances[i].span_steps > 0:
                record_span(instances, spans, span_count, i)
            found, leaving = finish(requests, instances, running, i, ended, found, moved)
            for k in range(leaving):
                target = take_out(requests, moved[k])
                requests[moved[k]].preemptions += 1
                if target == BACK:
                    back[returned] = moved[k]
                    returned += 1
                else:
                    put_in(requests, instances, tables, target, moved[k], next_end)
        if found > 0 or returned > 0 or next_end == limit:
            return found, returned, False


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
