"""Free KV blocks that still hold what a request has computed, so that one that was preempted finds it again.

As with vLLM's prefix caching, a block keeps its content until it is taken, and those that became free first are taken
first, a request's last ones before its first ones. The queue runs through the request records: each has at most one
stretch of blocks in it. Blocks that hold nothing that could be found again are taken before all others.
(vLLM also finds the prompts of others; here a request finds only its own.)
"""

from makespan.runtime.compiled import compiled
from makespan.runtime.engine_state import NOTHING, Records
from makespan.schedulers.instances import BLOCK_TOKENS


@compiled
def let_go(requests: Records, instances: Records, i: int, row: int, blocks: int, tokens: int, after: int) -> None:
    """Let request `row`, which has computed `tokens`, free `blocks` of instance `i`: all but the `after` first ones."""
    if not instances[i].keeps_kv:
        return
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
def still_there(requests: Records, i: int, row: int) -> bool:
    """Return whether instance `i` holds all whole blocks of the KV with which request `row` left its last instance."""
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
