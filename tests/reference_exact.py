"""The least makespan of all schedules, moves and preemption included and free or without either: what every step could do.

Time goes from the end of one step to the next. Any schedule can be shifted to the left until each of its steps begins at
time 0 or when some step ends, so looking at those moments only loses nothing. For a handful of tokens.
"""

from collections.abc import Iterator
from functools import cache
from heapq import heappop, heappush
from itertools import combinations, count, product

from makespan.schedulers.instances import Cluster, Instance

Busy = tuple[tuple[int, tuple[int, ...]], ...]  # of each instance: picoseconds until its step ends, and who is in it


def exact_makespan_ps(prompts: list[int], outputs: list[int], cluster: Cluster) -> int:
    """Return picoseconds of the best schedule; a prompt is computed whole, in the step that makes the first token."""
    instances = list(cluster)
    alike = len({(i.step_time, i.max_batch, i.kv_capacity_tokens) for i in instances}) == 1

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
                    started = (*busy[:i], (_step_ps(instances[i], prompts, made, rows), rows), *busy[i + 1 :])
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


def exact_stay_ps(prompts: list[int], outputs: list[int], cluster: Cluster) -> int:
    """Return picoseconds of the best schedule in which each request runs on one instance, begun at any time, in one go."""

    def end(instance: Instance, mine: tuple[int, ...]) -> int:
        """Return the least end of these requests on one instance, by what each has made so far."""

        @cache
        def left(made: tuple[int, ...]) -> int:
            running = tuple(j for j in mine if 0 < made[j] < outputs[j])
            waiting = [j for j in mine if made[j] == 0]
            ends = []
            for size in range(min(len(waiting), instance.max_batch - len(running)) + 1):
                for begun in combinations(waiting, size):
                    if rows := running + begun:
                        after = tuple(m + (j in rows) for j, m in enumerate(made))
                        ends.append(_step_ps(instance, prompts, made, rows) + left(after))
            return min(ends, default=0)

        return left(tuple(0 for _ in outputs))

    every = range(len(outputs))
    shares = [mine for size in range(len(outputs) + 1) for mine in combinations(every, size)]
    ends = [{mine: end(instance, mine) for mine in shares} for instance in cluster]
    return min(
        max(ends[i][tuple(j for j in every if where[j] == i)] for i in range(len(cluster)))
        for where in product(range(len(cluster)), repeat=len(outputs))
    )


def _step_ps(instance: Instance, prompts: list[int], made: tuple[int, ...], rows: tuple[int, ...]) -> int:
    """Return picoseconds of a step of these requests; a first token comes with the whole prompt."""
    step = instance.step_time
    kv = sum(prompts[j] + made[j] for j in rows)
    new = sum(prompts[j] for j in rows if made[j] == 0)
    return int(step.table_ps(instance.max_batch)[len(rows)]) + step.ps_per_kv_token * kv + step.ps_per_prefill_token * new
