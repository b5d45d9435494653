"""How many steps an instance can only decode: until a request ends, blocks run out, or one that waits may be admitted."""

from makespan.runtime.compiled import compiled
from makespan.runtime.engine_state import NEVER, Records
from makespan.runtime.kept_blocks import blocks_of
from makespan.runtime.vllm_step import would_fit
from makespan.schedulers.types import IntArray


@compiled
def decode_steps(requests: Records, instances: Records, running: IntArray, i: int) -> int:
    """Return how many pure decode steps can pass before anything changes; 0 when the next one needs scheduling."""
    instance = instances[i]
    if instance.running == 0 or instance.running > instance.budget:
        return 0
    steps = NEVER
    for k in range(instance.running):
        request = requests[running[i, k]]
        if request.generated == 0 or request.computed + 1 != request.prompt + request.generated:
            return 0
        steps = min(steps, request.stop - request.generated)
    if instance.lags and instance.queued > 0 and would_fit(requests, instances, running, i, 0, 0):
        # One step later the schedule knows, and may admit.
        steps = 1
    blocks = instance.blocks + instance.saved_blocks
    if _blocks_after(requests, running, i, instance.running, steps) <= blocks:
        return int(steps)
    few = 0
    many = steps
    while many - few > 1:
        middle = (few + many) // 2
        if _blocks_after(requests, running, i, instance.running, middle) <= blocks:
            few = middle
        else:
            many = middle
    return int(few)


@compiled
def _blocks_after(requests: Records, running: IntArray, i: int, count: int, steps: int) -> int:
    total = 0
    for k in range(count):
        total += blocks_of(requests[running[i, k]].computed + steps)
    return total
