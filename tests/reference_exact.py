"""The least makespan of all schedules, moves and preemption included and free: a search over what every step could do.

Time goes from the end of one step to the next. Any schedule can be shifted to the left until each of its steps begins at
time 0 or when some step ends, so looking at those moments only loses nothing. For a handful of tokens.
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import combinations, count

from makespan.schedulers.instances import Cluster, Instance

Busy = tuple[tuple[int, tuple[int, ...]], ...]  # of each instance: picoseconds until its step ends, and who is in it


def exact_makespan_ps(prompts: list[int], outputs: list[int], cluster: Cluster) -> int:
    """Return picoseconds of the best schedule; a prompt is computed whole, in the step that makes the first token."""
    instances = list(cluster)
    alike = len({(i.step_time, i.max_batch, i.kv_capacity_tokens) for i in instances}) == 1

    def length(instance: Instance, rows: tuple[int, ...], made: tuple[int, ...]) -> int:
        step = instance.step_time
        kv = sum(prompts[j] + made[j] for j in rows)
        new = sum(prompts[j] for j in rows if made[j] == 0)
        table = int(step.table_ps(instance.max_batch)[len(rows)])
        return table + step.ps_per_kv_token * kv + step.ps_per_prefill_token * new

    def choices(made: tuple[int, ...], busy: Busy, i: int) -> Iterator[Busy]:
        """Yield what instances i, i + 1 … that are free may begin."""
        if i == len(instances):
            yield busy
            return
        yield from choices(made, busy, i + 1)
        if busy[i][1]:
            return
        taken = {j for _, rows in busy for j in rows}
        free = [j for j in range(len(outputs)) if made[j] < outputs[j] and j not in taken]
        for size in range(1, min(len(free), instances[i].max_batch) + 1):
            for rows in combinations(free, size):
                if sum(prompts[j] + made[j] for j in rows) <= instances[i].kv_capacity_tokens:
                    started = (*busy[:i], (length(instances[i], rows, made), rows), *busy[i + 1 :])
                    yield from choices(made, started, i + 1)

    turn = count()
    idle: Busy = tuple((0, ()) for _ in instances)
    queue = [(0, next(turn), tuple(0 for _ in outputs), idle)]
    seen = set()
    while queue:
        now, _, made, busy = heappop(queue)
        if made == tuple(outputs):
            return now
        if (made, busy) in seen:
            continue
        seen.add((made, busy))
        for begun in choices(made, busy, 0):
            if not any(rows for _, rows in begun):
                continue
            passed = min(left for left, rows in begun if rows)
            ended = {j for left, rows in begun if rows and left == passed for j in rows}
            after = [(left - passed, rows) if rows and left > passed else (0, ()) for left, rows in begun]
            state = tuple(sorted(after) if alike else after)
            heappush(queue, (now + passed, next(turn), tuple(m + (j in ended) for j, m in enumerate(made)), state))
    raise AssertionError("no schedule ends")
