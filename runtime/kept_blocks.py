"""Free KV blocks that still hold what a request has computed, so that one that was preempted finds it again.

As with vLLM's prefix caching, a block keeps its content until it is taken, and those that became free first are taken
first, a request's last ones before its first ones. The queue runs through the request records: each has at most one
stretch of blocks in it. Blocks that hold nothing that could be found again are taken before all others.
(vLLM also finds the prompts of others; here a request finds only its own.)
"""

from makespan.runtime.compiled import compiled
from makespan.runtime.engine_state import NEVER, NOTHING, Records
from makespan.runtime.span_time import steps_begun
from makespan.schedulers.instances import BLOCK_TOKENS
from makespan.schedulers.types import IntArray


@compiled
def blocks_of(tokens: int) -> int:
    """Return the KV blocks that hold `tokens`."""
    return (tokens + BLOCK_TOKENS - 1) // BLOCK_TOKENS


@compiled
def let_go(
    requests: Records,
    instances: Records,
    running: IntArray,
    tables: IntArray,
    i: int,
    row: int,
    blocks: int,
    tokens: int,
    after: int,
    now: int,
) -> None:
    """Let request `row`, which has computed `tokens`, free `blocks` of instance `i`: all but the `after` first ones."""
    if not instances[i].keeps_kv:
        return
    if requests[row].kept_at != NOTHING:
        take_by_now(requests, instances, running, tables, requests[row].kept_at, now)
    _forget(requests, instances, row)
    request = requests[row]
    request.kept = blocks
    request.kept_tokens = tokens
    request.kept_after = after
    request.kept_at = i
    request.older = instances[i].newest
    request.newer = NOTHING
    if instances[i].newest == NOTHING:
        instances[i].oldest = row
    else:
        requests[instances[i].newest].newer = row
    instances[i].newest = row


@compiled
def take(requests: Records, instances: Records, i: int, blocks: int) -> None:
    """Take free blocks of instance `i`, whatever they hold."""
    if not instances[i].keeps_kv:
        return
    part = min(blocks, instances[i].blank_blocks)
    instances[i].blank_blocks -= part
    blocks -= part
    while blocks > 0:
        oldest = requests[instances[i].oldest]
        part = min(blocks, oldest.kept)
        oldest.kept -= part
        blocks -= part
        if oldest.kept == 0:
            _unlink(requests, instances, instances[i].oldest)


@compiled
def take_by_now(requests: Records, instances: Records, running: IntArray, tables: IntArray, i: int, now: int) -> None:
    """Take the blocks of those steps of the present span of instance `i` that have begun.

    A span takes its blocks when it is over. Whoever asks in the middle of it what the free ones hold must see them gone.
    """
    instance = instances[i]
    if not instance.keeps_kv or instance.span_end == NEVER or not instance.span_decodes_only:
        return
    begun = steps_begun(instances, tables, i, now)
    for k in range(instance.running):
        computed = requests[running[i, k]].computed
        take(requests, instances, i, blocks_of(computed + begun) - blocks_of(computed + instance.span_taken))
    instance.span_taken = begun


@compiled
def still_there(
    requests: Records, instances: Records, running: IntArray, tables: IntArray, i: int, row: int, now: int
) -> bool:
    """Return whether instance `i` holds all whole blocks of the KV with which request `row` left its last instance."""
    take_by_now(requests, instances, running, tables, i, now)
    request = requests[row]
    whole = request.pooled // BLOCK_TOKENS
    return bool(
        request.kept_at == i
        and request.kept_after == 0
        and 0 < whole <= min(request.kept, request.kept_tokens // BLOCK_TOKENS)
    )


@compiled
def findable(requests: Records, i: int, row: int) -> int:
    """Return how many blocks request `row` would find on instance `i`, never all it needs."""
    request = requests[row]
    if request.kept_at != i:
        return 0
    whole = min(request.kept_tokens, request.prompt + request.generated - 1) // BLOCK_TOKENS
    return int(min(request.kept, whole - request.kept_after))


@compiled
def find_again(requests: Records, instances: Records, i: int, row: int, shared: int) -> int:
    """Give request `row`, which instance `i` admits, the blocks it finds behind the first `shared`; returns how many."""
    request = requests[row]
    if request.kept_at != i:
        return 0
    found = findable(requests, i, row) if request.kept_after == shared else 0
    request.kept -= found
    _forget(requests, instances, row)
    return found


@compiled
def _forget(requests: Records, instances: Records, row: int) -> None:
    """Make what is left of the stretch of a request, wherever it is, blocks that hold nothing."""
    if requests[row].kept_at == NOTHING:
        return
    instances[requests[row].kept_at].blank_blocks += requests[row].kept
    requests[row].kept = 0
    _unlink(requests, instances, row)


@compiled
def _unlink(requests: Records, instances: Records, row: int) -> None:
    request = requests[row]
    instance = instances[request.kept_at]
    if request.older == NOTHING:
        instance.oldest = request.newer
    else:
        requests[request.older].newer = request.newer
    if request.newer == NOTHING:
        instance.newest = request.older
    else:
        requests[request.newer].older = request.older
    request.kept_at = NOTHING
