"""One scheduling step of vLLM V1 (0.32), exactly: who is in the next batch, who is preempted, who is admitted.

Rules, from vLLM's scheduler with its defaults (chunked prefill on, priority policy, whole prompt must fit):
running requests come first, in the order of their admission, each with what is left of its prompt or one token; when KV
blocks run out the request with the largest (priority, arrival) is preempted, loses its KV and waits again, and when that
is the asking request itself, those after it idle for this step. Only a step without preemption admits waiting
requests: in priority order while the batch limit, the token budget and the free blocks allow, stopping at the first that
does not fit.

With asynchronous scheduling a step is scheduled when the one before it starts. It admits nothing into what that one's end
frees, and nothing that arrives during it. Only where nothing could be scheduled so does the engine wait and look again.
(Two shortcuts: requests that run may take those blocks, where vLLM would preempt one of them a step early; and one that
arrives with a smaller key than all that wait keeps these from being admitted in the step before its own.)
"""

from makespan.runtime.compiled import compiled
from makespan.runtime.engine_state import NOTHING, Records
from makespan.runtime.kept_blocks import blocks_of, find_again, let_go, take
from makespan.runtime.shared_prompts import blocks_to_share, share, stop_sharing
from makespan.runtime.waiting_heap import before, pop, push
from makespan.schedulers.instances import BLOCK_TOKENS
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import QUEUED, RUNNING


@compiled
def head_fits(requests: Records, instances: Records, running: IntArray, i: int) -> bool:
    """Return whether the first waiting request of instance `i` could be admitted: known, a slot and enough blocks."""
    instance = instances[i]
    if instance.queued == 0 or (instance.lags and requests[instance.root].handed_ps > instance.last_start):
        return False
    return would_fit(requests, instances, running, i, instance.held_slots, instance.held_blocks)


@compiled
def would_fit(requests: Records, instances: Records, running: IntArray, i: int, held_slots: int, held_blocks: int) -> bool:
    """Return whether the first waiting request fits beside what runs and what is held."""
    instance = instances[i]
    if instance.running + held_slots >= instance.max_batch:
        return False
    head = requests[instance.root]
    needed = blocks_of(head.prompt + head.generated) - blocks_to_share(requests, instances, running, i, instance.root)
    return bool(needed <= instance.blocks - instance.used_blocks - held_blocks)


@compiled
def catch_up(instances: Records, i: int, now: int) -> None:
    """Let instance `i` schedule with all that has happened until `now`; without a lag it always does."""
    instances[i].last_start = now
    instances[i].held_slots = 0
    instances[i].held_blocks = 0


@compiled
def enqueue(requests: Records, instances: Records, i: int, row: int) -> None:
    """Put request `row` into the waiting queue of instance `i`, without KV."""
    requests[row].instance = i
    requests[row].state = QUEUED
    requests[row].computed = 0
    requests[row].chunk = 0
    instances[i].root = push(requests, instances[i].root, row)
    instances[i].queued += 1


@compiled
def schedule_step(requests: Records, instances: Records, running: IntArray, tables: IntArray, i: int, now: int) -> bool:
    """Decide the next step of instance `i`: sets every running request's `chunk`, preempts and admits.

    Returns whether any token is to be computed.
    """
    instance = instances[i]
    budget = instance.budget
    for k in range(instance.running):
        requests[running[i, k]].chunk = 0
    preempted = False
    k = 0
    while k < instance.running and budget > 0:
        row = running[i, k]
        request = requests[row]
        chunk = min(request.prompt + request.generated - request.computed, budget)
        needed = blocks_of(request.computed + chunk) - blocks_of(request.computed)
        gone = False
        while needed > instance.blocks - instance.used_blocks:
            position = _last_in_line(requests, running, i, instance.running)
            budget += _preempt(requests, instances, running, tables, i, position, now)
            preempted = True
            if position == k:
                gone = True
                break
            if position < k:
                k -= 1
        if gone:
            break
        instance.used_blocks += needed
        take(requests, instances, i, needed)
        request.chunk = chunk
        budget -= chunk
        k += 1
    if not preempted:
        while budget > 0 and head_fits(requests, instances, running, i):
            row = instance.root
            request = requests[row]
            instance.root = pop(requests, row)
            instance.queued -= 1
            request.state = RUNNING
            if request.admitted_ps == NOTHING:
                request.admitted_ps = now
            shared = share(requests, instances, running, i, row)
            found = find_again(requests, instances, i, row, shared)
            request.computed = (shared + found) * BLOCK_TOKENS
            if request.fetched:
                request.computed = max(request.computed, request.pooled)
            request.pooled = 0
            request.fetched = 0
            request.chunk = min(request.prompt + request.generated - request.computed, budget)
            needed = blocks_of(request.computed + request.chunk) - shared
            instance.used_blocks += needed
            take(requests, instances, i, needed - found)
            budget -= request.chunk
            running[i, instance.running] = row
            instance.running += 1
    return bool(budget < instance.budget)


@compiled
def _last_in_line(requests: Records, running: IntArray, i: int, count: int) -> int:
    """Return the position of the running request with the largest (key, counter)."""
    last = 0
    for k in range(1, count):
        if before(requests, running[i, last], running[i, k]):
            last = k
    return last


@compiled
def _preempt(
    requests: Records, instances: Records, running: IntArray, tables: IntArray, i: int, position: int, now: int
) -> int:
    """Take a request out of the batch, drop its KV, queue it again; return the budget that becomes free."""
    row = running[i, position]
    budget = requests[row].chunk
    stay = stop_sharing(requests, instances, running, i, row, position, position)
    freed = blocks_of(requests[row].computed + budget) - stay
    instances[i].used_blocks -= freed
    let_go(requests, instances, running, tables, i, row, freed, requests[row].computed, stay, now)
    for k in range(position, instances[i].running - 1):
        running[i, k] = running[i, k + 1]
    instances[i].running -= 1
    requests[row].preemptions += 1
    enqueue(requests, instances, i, row)
    return int(budget)
