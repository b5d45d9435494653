"""How long the steps of a span take, and how many of them have begun by a moment."""

from makespan.runtime.compiled import compiled
from makespan.runtime.engine_state import Records
from makespan.schedulers.types import IntArray


@compiled
def duration(instances: Records, tables: IntArray, i: int, steps: int) -> int:
    """Return picoseconds of the first `steps` steps of the present span."""
    instance = instances[i]
    if instance.span_fixed > 0:
        return int(instance.span_fixed)
    kv = instance.span_kv * steps + instance.span_batch * (steps * (steps - 1) // 2)
    prefill = instance.span_prefill + instance.span_recompute
    base = tables[instance.table, instance.span_batch] + instance.padded_ps * instance.span_padded
    return int(steps * base + instance.kv_ps * kv + instance.prefill_ps * prefill)


@compiled
def steps_begun(instances: Records, tables: IntArray, i: int, now: int) -> int:
    """Return how many steps of the present span begin before `now`: all up to the first that ends no earlier."""
    instance = instances[i]
    few = 0
    enough = instance.span_steps
    while enough - few > 1:
        middle = (few + enough) // 2
        if instance.span_start + duration(instances, tables, i, middle) >= now:
            enough = middle
        else:
            few = middle
    return int(enough)
