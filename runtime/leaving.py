"""Requests leave the batch of an instance between two of its steps: finished, aborted, or bound elsewhere."""

from makespan.runtime.compiled import compiled
from makespan.runtime.engine_state import BACK, LEAVE, NOTHING, STAY, Records
from makespan.runtime.kept_blocks import blocks_of, let_go
from makespan.runtime.shared_prompts import stop_sharing
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import ABORTED, FINISHED, OUTSIDE


@compiled
def let_leave(
    requests: Records,
    instances: Records,
    running: IntArray,
    tables: IntArray,
    i: int,
    now: int,
    ended: IntArray,
    found: int,
    moved: IntArray,
) -> tuple[int, int]:
    """Take out of the batch of instance `i` what has generated what it was to generate there or is to leave.

    Rows that finished or were aborted are written to `ended` from position `found` on, rows that go elsewhere to `moved`.
    Returns the new `found` and how many rows move.
    """
    instance = instances[i]
    kept = 0
    leaving = 0
    for k in range(instance.running):
        row = running[i, k]
        request = requests[row]
        if request.generated < request.stop and request.exit == STAY:
            running[i, kept] = row
            kept += 1
            continue
        stay = stop_sharing(requests, instances, running, i, row, kept, k)
        freed = blocks_of(request.computed) - stay
        instance.used_blocks -= freed
        let_go(requests, instances, running, tables, i, row, freed, request.computed, stay, now)
        if instance.lags:
            instance.held_slots += 1
            instance.held_blocks += freed
        if request.generated < request.output and request.exit != LEAVE:
            moved[leaving] = row
            leaving += 1
            continue
        request.state = FINISHED if request.generated == request.output else ABORTED
        request.ended_ps = now
        ended[found] = row
        found += 1
    instance.running = kept
    instance.someone_leaves = 0
    return found, leaving


@compiled
def take_out(requests: Records, instances: Records, row: int) -> int:
    """Make request `row`, just removed from its instance, one that is nowhere; return where it is bound.

    One that has generated what it was to generate there stays nowhere, wherever it was to go. Where KV travels, that of
    the request goes along.
    """
    if instances[requests[row].instance].move_ps != NOTHING and requests[row].exit != BACK:
        requests[row].pooled = requests[row].computed
    target = requests[row].exit if requests[row].generated < requests[row].stop else STAY
    requests[row].exit = STAY
    requests[row].state = OUTSIDE
    requests[row].instance = NOTHING
    requests[row].computed = 0
    return int(target)
