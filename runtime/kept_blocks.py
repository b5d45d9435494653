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
def let_go(requests: Records, instances: Records, i: int, row: int, blocks: int, tokens: int) -> None:
    """Let request `row` free `blocks` of instance `i`, of whose tokens it has computed `tokens`."""
    if not instances[i].keeps_kv:
        return
    _forget(requests, instances, row)
    request = requests[row]
    request.kept = blocks
    request.kept_tokens = tokens
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
def find_again(requests: Records, instances: Records, i: int, row: int) -> int:
    """Give request `row`, which instance `i` admits, the blocks that it finds; returns their tokens, never all it needs."""
    request = requests[row]
    if request.kept_at != i:
        return 0
    found = min(request.kept, request.kept_tokens // BLOCK_TOKENS, (request.prompt + request.generated - 1) // BLOCK_TOKENS)
    request.kept -= found
    _forget(requests, instances, row)
    return int(found * BLOCK_TOKENS)


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
