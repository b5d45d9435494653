"""Spans: stretches of steps that an instance makes with one batch, taken in one jump.

A span is either one scheduled step with prefill, admission or preemption in it, or as many pure decode steps as pass
before something can change: a request ends, blocks run out, or somebody interrupts. Within a pure decode span nothing can be
admitted, since slots and blocks only become fewer, so jumping over its steps changes nothing. Times are whole
picoseconds, so the closed sum of a span equals the sum of its steps exactly.
"""

from makespan.runtime.compiled import compiled
from makespan.runtime.decode_steps import decode_steps
from makespan.runtime.engine_state import NEVER, NOTHING, Records
from makespan.runtime.kept_blocks import blocks_of, take
from makespan.runtime.leaving import let_leave
from makespan.runtime.span_time import duration, steps_begun
from makespan.runtime.vllm_step import catch_up, head_fits, schedule_step
from makespan.schedulers.types import IntArray


@compiled
def begin(requests: Records, instances: Records, running: IntArray, tables: IntArray, i: int, now: int) -> None:
    """Start the next span of instance `i`, if it has anything to do."""
    instance = instances[i]
    if instance.running == 0 and instance.queued == 0:
        return
    instance.span_start = now
    steps = 0
    if not head_fits(requests, instances, running, i):
        steps = decode_steps(requests, instances, running, i)
    instance.span_decodes_only = 1 if steps > 0 else 0
    instance.span_steps = max(steps, 1)
    instance.span_taken = 0
    # A step in which the first request preempted itself schedules nothing and takes no time, nor does one that only
    # what has just happened lets run.
    while steps == 0 and not schedule_step(requests, instances, running, tables, i, now):
        catch_up(instances, i, now)
    batch = 0
    kv = 0
    decodes = 0
    prefill = 0
    recompute = 0
    decode_kv = 0
    longest = 0
    pairs = 0
    for k in range(instance.running):
        request = requests[running[i, k]]
        if steps > 0:
            request.chunk = 1
        if request.chunk == 0:
            continue
        batch += 1
        kv += request.computed + request.chunk
        if request.generated > 0 and request.computed + 1 == request.prompt + request.generated:
            decodes += 1
            decode_kv += request.computed + 1
            longest = max(longest, request.computed + 1)
        else:
            pairs += request.chunk * request.computed + request.chunk * (request.chunk + 1) // 2
            redone = max(0, min(request.computed + request.chunk, request.reached) - request.computed)
            request.recomputed += redone
            recompute += redone
            prefill += request.chunk - redone
    instance.span_batch = batch
    instance.peak_batch = max(instance.peak_batch, instance.running)
    instance.peak_blocks = max(instance.peak_blocks, instance.used_blocks)
    instance.span_kv = kv
    instance.span_prefill = prefill
    instance.span_recompute = recompute
    instance.span_padded = decodes * longest - decode_kv
    instance.span_fixed = 0
    if instance.prefill_table != NOTHING and prefill + recompute > 0:
        instance.span_fixed = (
            tables[instance.prefill_table, decodes + prefill + recompute]
            + instance.prefill_decode_ps * decodes
            + instance.prefill_kv_ps * kv
            + instance.prefill_padded_ps * instance.span_padded
            + instance.prefill_pair_ps * pairs
        )
    instance.span_last = now
    if steps > 1:
        instance.span_last += duration(instances, tables, i, steps - 1)
    instance.span_end = now + duration(instances, tables, i, instance.span_steps)
    _account(instances, tables, i, decodes, decode_kv)


@compiled
def shorten(instances: Records, tables: IntArray, i: int, now: int) -> None:
    """End the present span of instance `i` at the first boundary between steps that is not before `now`."""
    instance = instances[i]
    if instance.span_end == NEVER or instance.span_steps == 1 or instance.span_end <= now:
        return
    enough = steps_begun(instances, tables, i, now)
    cut = instance.span_end - instance.span_start - duration(instances, tables, i, enough)
    instance.decode_ps -= cut
    instance.batch_ps -= cut * instance.span_batch
    instance.steps -= instance.span_steps - enough
    instance.span_steps = enough
    instance.span_last = instance.span_start + duration(instances, tables, i, enough - 1)
    instance.span_end -= cut


@compiled
def finish(
    requests: Records,
    instances: Records,
    running: IntArray,
    tables: IntArray,
    i: int,
    ended: IntArray,
    found: int,
    moved: IntArray,
    generated: IntArray,
) -> tuple[int, int]:
    """End the span of instance `i` that has just run, and let leave what does, as `let_leave` has it.

    What its requests have generated is written into `generated` too, shape (n,).
    """
    instance = instances[i]
    now = instance.span_end
    catch_up(instances, i, instance.span_last)
    for k in range(instance.running):
        _book(requests, instances, i, running[i, k])
        generated[running[i, k]] = requests[running[i, k]].generated
    instance.peak_blocks = max(instance.peak_blocks, instance.used_blocks)
    instance.span_end = NEVER
    instance.span_steps = 0
    return let_leave(requests, instances, running, tables, i, now, ended, found, moved)


@compiled
def _book(requests: Records, instances: Records, i: int, row: int) -> None:
    """Add to a running request what the span of its instance has computed and generated."""
    instance = instances[i]
    request = requests[row]
    if request.chunk == 0:
        return
    if instance.span_decodes_only:
        steps = instance.span_steps
        needed = blocks_of(request.computed + steps) - blocks_of(request.computed)
        instance.used_blocks += needed
        taken = blocks_of(request.computed + instance.span_taken) - blocks_of(request.computed)
        take(requests, instances, i, needed - taken)
        request.computed += steps
        request.generated += steps
    else:
        request.computed += request.chunk
        if request.computed == request.prompt + request.generated:
            request.generated += 1
            if request.generated == 1:
                request.first_token_ps = instance.span_end
    request.reached = max(request.reached, request.computed)
    request.chunk = 0


@compiled
def _account(instances: Records, tables: IntArray, i: int, decodes: int, decode_kv: int) -> None:
    """Book where the time of the span goes: prefill tokens, recomputed ones, and the rest to whom the step is for.

    Where prefill steps have their own law, the decoding requests are booked what they would have taken alone.
    """
    instance = instances[i]
    length = instance.span_end - instance.span_start
    prefill = instance.prefill_ps * instance.span_prefill
    recompute = instance.prefill_ps * instance.span_recompute
    if instance.span_fixed > 0 and decodes > 0:
        alone = tables[instance.table, decodes] + instance.kv_ps * decode_kv + instance.padded_ps * instance.span_padded
        beside = length - min(alone, length)
        recompute = beside * instance.span_recompute // (instance.span_prefill + instance.span_recompute)
        prefill = beside - recompute
    shared = length - prefill - recompute
    if decodes > 0:
        instance.decode_ps += shared
    elif instance.span_prefill > 0:
        prefill += shared
    else:
        recompute += shared
    instance.prefill_spent_ps += prefill
    instance.recompute_ps += recompute
    instance.steps += instance.span_steps
    instance.batch_ps += length * instance.span_batch
