"""KV blocks of one prompt that several requests of its group use, as with vLLM's prefix caching.

All whole blocks of the prompt but that of its last token are shared with a sibling that runs on the same instance and has
computed them; each copy counts once. (vLLM also finds prompts that nobody uses any more, while they last; here one is
shared only while somebody does.)
"""

from makespan.runtime.compiled import compiled
from makespan.runtime.engine_state import NOTHING, Records
from makespan.runtime.kept_blocks import findable
from makespan.schedulers.instances import BLOCK_TOKENS
from makespan.schedulers.types import IntArray


@compiled
def donor_of(requests: Records, instances: Records, running: IntArray, i: int, row: int) -> int:
    """Return the running request with which request `row` would share its prompt on instance `i`, or NOTHING."""
    request = requests[row]
    whole = _whole_blocks(requests, row)
    if not instances[i].shares_prompts or whole == 0:
        return NOTHING
    if request.kept_after == 0 and findable(requests, i, row) >= whole:
        # Its own copy is still there.
        return NOTHING
    for k in range(instances[i].running):
        other = requests[running[i, k]]
        same = other.group == request.group and other.first_prompt == request.first_prompt
        if same and other.computed >= whole * BLOCK_TOKENS:
            return int(running[i, k])
    return NOTHING


@compiled
def blocks_to_share(requests: Records, instances: Records, running: IntArray, i: int, row: int) -> int:
    """Return how many blocks request `row` need not take on instance `i`."""
    return _whole_blocks(requests, row) if donor_of(requests, instances, running, i, row) != NOTHING else 0


@compiled
def share(requests: Records, instances: Records, running: IntArray, i: int, row: int) -> int:
    """Let request `row` use the prompt of a sibling on instance `i` if there is one; returns how many blocks it shares."""
    donor = donor_of(requests, instances, running, i, row)
    if donor == NOTHING:
        return 0
    whole = _whole_blocks(requests, row)
    if requests[donor].shares == 0:
        requests[donor].shares = whole
        requests[donor].copy_of = donor
    requests[row].shares = whole
    requests[row].copy_of = requests[donor].copy_of
    instances[i].saved_blocks += whole
    return whole


@compiled
def stop_sharing(requests: Records, instances: Records, running: IntArray, i: int, row: int, before: int, after: int) -> int:
    """Let request `row` leave the batch of instance `i`; returns how many of its blocks others go on using.

    They are at the positions of the batch below `before` and above `after`.
    """
    request = requests[row]
    if request.shares == 0:
        return 0
    stay = 0
    for k in range(instances[i].running):
        other = requests[running[i, k]]
        if (k < before or k > after) and other.shares > 0 and other.copy_of == request.copy_of:
            stay = request.shares
            break
    instances[i].saved_blocks -= stay
    request.shares = 0
    return int(stay)


@compiled
def _whole_blocks(requests: Records, row: int) -> int:
    return int((requests[row].first_prompt - 1) // BLOCK_TOKENS)
