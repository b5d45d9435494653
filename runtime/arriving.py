"""Requests come to an instance, at once or when they and their KV are there, and are taken out of its queue again."""

from makespan.runtime.compiled import compiled
from makespan.runtime.engine_state import NOTHING, Records
from makespan.runtime.kept_blocks import still_there
from makespan.runtime.spans import shorten
from makespan.runtime.vllm_step import enqueue
from makespan.runtime.waiting_heap import remove
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import QUEUED


@compiled
def put_in(requests: Records, instances: Records, running: IntArray, tables: IntArray, i: int, row: int, now: int) -> None:
    """Send request `row` to instance `i`; KV that travels with it is awaited there, unless the instance still has it."""
    request = requests[row]
    instance = instances[i]
    request.ready_ps = now + instance.order_ps
    if request.pooled > 0 and not still_there(requests, instances, running, tables, i, row, now):
        request.fetched = 1
        request.moved += request.pooled
        instance.link_free = max(instance.link_free, now) + request.pooled * instance.move_ps
        request.ready_ps = max(request.ready_ps, instance.link_free + instance.move_latency_ps)
    if request.ready_ps <= now:
        _queue(requests, instances, tables, i, row, now)
        return
    request.instance = i
    request.state = QUEUED
    request.on_its_way = 1
    _line_up(requests, instances, i, row)


@compiled
def _line_up(requests: Records, instances: Records, i: int, row: int) -> None:
    """Put a request among those on their way to instance `i`, after all that are there no later."""
    instance = instances[i]
    ready = requests[row].ready_ps
    before = instance.last_coming
    if before != NOTHING and requests[before].ready_ps > ready:
        # Only what comes without KV overtakes, and only what comes with it.
        before = NOTHING
        other = instance.first_coming
        while requests[other].ready_ps <= ready:
            before = other
            other = requests[other].behind
    if before == NOTHING:
        requests[row].behind = instance.first_coming
        instance.first_coming = row
    else:
        requests[row].behind = requests[before].behind
        requests[before].behind = row
    if requests[row].behind == NOTHING:
        instance.last_coming = row


@compiled
def next_arrival(requests: Records, instances: Records, i: int, never: int) -> int:
    """Return when the next request that is on its way can be queued on instance `i`."""
    if instances[i].first_coming == NOTHING:
        return never
    return int(requests[instances[i].first_coming].ready_ps)


@compiled
def arrive(requests: Records, instances: Records, tables: IntArray, i: int, now: int) -> None:
    """Queue the requests that have come to instance `i` by now."""
    instance = instances[i]
    while instance.first_coming != NOTHING and requests[instance.first_coming].ready_ps <= now:
        row = instance.first_coming
        instance.first_coming = requests[row].behind
        requests[row].on_its_way = 0
        if instance.first_coming == NOTHING:
            instance.last_coming = NOTHING
        _queue(requests, instances, tables, i, row, now)


@compiled
def withdraw(requests: Records, instances: Records, tables: IntArray, row: int, now: int) -> None:
    """Take a request out of the queue of its instance; what was behind it there may fit where it did not."""
    i = requests[row].instance
    instance = instances[i]
    if requests[row].on_its_way:
        _turn_back(requests, instances, i, row)
    else:
        if instance.root == row and instance.running < instance.max_batch:
            shorten(instances, tables, i, now)
        instance.root = remove(requests, instance.root, row)
        instance.queued -= 1
    requests[row].fetched = 0


@compiled
def _turn_back(requests: Records, instances: Records, i: int, row: int) -> None:
    """Strike a request off those that are on their way to instance `i`; its place on the link stays taken."""
    instance = instances[i]
    before = NOTHING
    other = instance.first_coming
    while other != row:
        before = other
        other = requests[other].behind
    if before == NOTHING:
        instance.first_coming = requests[row].behind
    else:
        requests[before].behind = requests[row].behind
    if instance.last_coming == row:
        instance.last_coming = before
    requests[row].on_its_way = 0


@compiled
def _queue(requests: Records, instances: Records, tables: IntArray, i: int, row: int, now: int) -> None:
    """Queue request `row`; a span that could admit it ends at its next step."""
    requests[row].handed_ps = now
    enqueue(requests, instances, i, row)
    if instances[i].running < instances[i].max_batch:
        shorten(instances, tables, i, now)
