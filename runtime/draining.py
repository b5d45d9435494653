"""Each instance drains its batch, takes the newest weights and then new prompts: no barrier anywhere (Laminar)."""

from collections.abc import Iterator
from dataclasses import replace
from heapq import heapify, heappop, heappush
from math import inf

import numpy as np

from makespan.runtime.courses import Setting
from makespan.runtime.round_record import Round, Step


def drain(setting: Setting) -> Iterator[Round | Step]:
    """Play a round policy whose rounds are one instance's each (arXiv 2510.12633, section 4).

    An instance that is free takes as many prompts as fill its batch and the rule allows. Batches of training are taken from
    what has finished, oldest prompt first, as soon as there are enough; nobody waits for the trainer, except where the
    rule allows no more prompts.
    """
    ledger = setting.ledger
    published = [0.0]
    free = [(0.0, i) for i in range(len(setting.cluster))]
    heapify(free)
    idle: list[int] = []
    number = 0
    while free or not ledger.over:
        now = free[0][0] if free else inf
        begin = max(published[-1], ledger.ready_s())
        if begin <= now and begin < inf:
            rows = ledger.batch(begin)
            assert rows is not None
            published.append(begin + setting.training_s(rows))
            yield ledger.train(rows, begin, published[-1])
            for i in idle:
                heappush(free, (published[-1], i))
            idle.clear()
            continue
        if not free:
            raise setting.halted()
        now, i = heappop(free)
        version = int(np.searchsorted(published, now, side="right")) - 1
        plan = setting.policy.between.next_round(ledger.backlog(version))
        setting.whole(plan)
        room = -(-int(setting.cluster.max_batch[i]) // max(plan.samples, 1))
        plan = replace(plan, fresh=min(plan.fresh, room))
        if not plan.fresh:
            if ledger.left and published[-1] > now:
                heappush(free, (published[-1], i))
            elif ledger.left:
                idle.append(i)
            continue
        issued = ledger.issue(plan, version)
        assert issued is not None
        alone = replace(setting, cluster=setting.cluster.only(np.array([i])))
        timeline = alone.simulate(plan, issued, number)
        number += 1
        seconds = float(timeline.ended.max())
        yield setting.record(issued, timeline, now, seconds / len(setting.cluster))
        ledger.close(issued, timeline, now, version)
        heappush(free, (now + seconds, i))
