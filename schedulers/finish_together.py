"""Our own placement: shares that finish together, planned with hindsight where lengths are known and hedged where not.

The longest requests set the pace. An instance that runs one of them makes as many steps as it is long, and each step is
the longer the more others run beside it. So the longest belong together, in small batches, and the rest in large
ones: contiguous shares, each as large as it finishes in the common time. That is near the bound, but it leaves no slack:
where a length turns out longer than was thought, its share is late by as much.

So several ways of sharing out are laid side by side: no instance dedicated to long requests, one, two, … all; and each
planned for lengths as expected or for longer ones. Lengths are drawn from what is believed, all ways are computed
through to their end, and the one that ends first on average is taken. With certain lengths this gives contiguous
shares; the less is known the fewer instances are dedicated, until all requests wait in one queue, longest first.
"""

from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import pairwise
from typing import ClassVar

import numpy as np

from makespan.schedulers.finish_model import FinishModel, Work, models_of
from makespan.schedulers.long_shares import long_shares
from makespan.schedulers.parts import HOLD
from makespan.schedulers.pull import Pull
from makespan.schedulers.remaining import Belief, believed, told_apart
from makespan.schedulers.types import BoolArray, FloatArray, IntArray
from makespan.schedulers.view import NOWHERE, RUNNING, View

GROUPS = 32
"""Plans are laid for at most so many groups of instances; larger clusters are dealt out within the groups."""


@dataclass(frozen=True, slots=True)
class FinishTogether:
    """Contiguous shares for the longest requests as far as they are known, one queue for the rest.

    Parameters
    ----------
    draws
        How often lengths are drawn to compare the ways of sharing out.
    hedges
        Ways are laid for the mean and for what these shares of requests exceed.
    margin
        Where lengths are not certain, a way other than the single queue must be better by this share.
    """

    draws: int = 8
    hedges: tuple[float, ...] = (0.1,)
    margin: float = 0.06
    looks_at_progress: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"lengths must be drawn at least once, got {self.draws}")
        if not all(0 < share < 1 for share in self.hedges):
            raise ValueError(f"hedges must be shares between 0 and 1, got {self.hedges}")
        if not 0 <= self.margin < 1:
            raise ValueError(f"the margin must lie from 0 to 1, got {self.margin}")

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the instances of the rows that may start; the first call of a stage lays the plan."""
        if view.in_flight.any():
            return _pull(view, rows)
        belief = believed(view, rows)
        context = (view.requests.prompt_tokens[rows] + view.generated[rows]).astype(np.float64)
        work = Work(belief.mean(), context, context)
        models = models_of(view.cluster)
        instances = np.lexsort((view.cluster.sequence, [model.table[1] for model in models]))
        groups = np.array_split(instances, min(GROUPS, len(instances)))
        thin = len(instances) // len(groups)
        if not told_apart(view):
            # No request is known to be longer than another, so there is nothing to plan.
            return _deal(view, rows, groups, np.empty(0, dtype=np.int64), False, work, models)
        ends = thin * self._ends(work, belief, [models[group[0]] for group in groups], view.requests.sequence[rows], thin)
        settled = belief.certain or bool(len(rows) <= view.cluster.slots and np.ptp(belief.median) > 0)
        return _deal(view, rows, groups, np.minimum(ends, len(rows)), settled, work, models)

    def _ends(self, work: Work, belief: Belief, models: list[FinishModel], sequence: IntArray, thin: int) -> IntArray:
        """Return up to which request the share of each dedicated group goes, counted in every `thin`-th request."""
        sample = slice(thin // 2, None, thin)
        seen = Belief(*(getattr(belief, f)[sample] for f in ("median", "spread", "generated", "left", "beyond")))
        thinned = work.take(sample)
        drawn = [replace(thinned, tokens=tokens) for tokens in seen.scenarios(sequence[sample], 2 * self.draws)]
        # What is chosen on some draws is judged on others, since the best of many looks better than it is.
        drawn, judges = drawn[: self.draws], drawn[-self.draws :]
        plans = [thinned]
        if not belief.certain:
            longer = [seen.exceeded_by(share) for share in self.hedges]
            plans += [replace(thinned, tokens=np.maximum.accumulate(tokens[::-1])[::-1]) for tokens in longer]
        chosen = np.empty(0, dtype=np.int64)
        least = _mean_end(drawn, models, chosen)
        for plan in plans:
            for dedicated in _some(len(models)):
                ends = long_shares(plan, models, dedicated)
                seconds = _mean_end(drawn, models, ends)
                if seconds < least:
                    least, chosen = seconds, ends
        queue = np.empty(0, dtype=np.int64)
        asked = 0.0 if belief.certain else self.margin
        pays = _mean_end(judges, models, chosen) <= (1 - asked) * _mean_end(judges, models, queue)
        return chosen if pays else queue


def _some(count: int) -> list[int]:
    """Return the numbers of dedicated groups that are tried: few, and eighths of all."""
    return list(range(1, count + 1)) if count <= 8 else sorted({1, 2, 4, 8, count // 4, count // 2, 3 * count // 4, count})


def _mean_end(drawn: list[Work], models: list[FinishModel], ends: IntArray) -> float:
    """Return when the last request ends, on average, where the rest waits in one queue for the other instances."""
    return float(np.mean([_end(work, models, ends) for work in drawn]))


def _end(work: Work, models: list[FinishModel], ends: IntArray) -> float:
    shares = pairwise([0, *ends.tolist()])
    last = max((model.finish(work.take(slice(*share))) for model, share in zip(models, shares, strict=False)), default=0.0)
    first = int(ends[-1]) if len(ends) else 0
    if first == len(work.tokens):
        return last
    others = len(models) - len(ends)
    if not others:
        raise ValueError(f"a plan without other instances must leave nothing, got {len(work.tokens) - first} requests left")
    return max(last, models[-1].finish(work.take(slice(first, None)), others))


def _deal(
    view: View, rows: IntArray, groups: list[IntArray], ends: IntArray, settled: bool, work: Work, models: list[FinishModel]
) -> IntArray:
    """Return the instance of each row: shares to their groups, the rest to the others, at once or as they have room."""
    where = np.full(len(rows), HOLD, dtype=np.int64)
    for group, (first, end) in zip(groups, pairwise([0, *ends.tolist()]), strict=False):
        where[first:end] = group[np.arange(end - first) % len(group)]
    own = int(ends[-1]) if len(ends) else 0
    if own == len(rows):
        return where
    others = np.concatenate(groups[len(ends) :])
    if settled:
        where[own:] = others[_evenly(work.take(slice(own, None)), models[others[0]], len(others))]
        return where
    open_ones = np.sort(others)
    later = Pull().place(view.only(open_ones), rows[own:])
    where[own : own + len(later)] = open_ones[later]
    return where


def _evenly(work: Work, model: FinishModel, instances: int) -> IntArray:
    """Return list scheduling: each request where the load is least, counted as at full batches."""
    heap = [(0.0, k) for k in range(instances)]
    chosen = np.empty(len(work.tokens), dtype=np.int64)
    for j, added in enumerate(model.full_cost(work).tolist()):
        load, k = heappop(heap)
        chosen[j] = k
        heappush(heap, (load + added, k))
    return chosen


def _pull(view: View, rows: IntArray) -> IntArray:
    """Return the instances of as many rows as may start: as in `Pull`, but not where a share has room on purpose.

    An instance whose batch is nearly full has room because a request has just ended. One with much room
    runs long requests: it takes others only if it would still end before all could end together.
    """
    room = np.where(view.queued == 0, view.cluster.max_batch - view.in_flight, 0)
    much = room > np.maximum(view.cluster.max_batch // 8, 1)
    if much.any():
        level, ends = _level(view, rows)
        room = np.where(much & (ends >= level), 0, room)
    open_ones = np.flatnonzero(room > 0)
    if not len(open_ones):
        return np.empty(0, dtype=np.int64)
    chosen: IntArray = open_ones[Pull().place(view.only(open_ones), rows)]
    return chosen


def _level(view: View, rows: IntArray) -> tuple[float, FloatArray]:
    """Return when all instances could end together with `rows` shared out, and when each ends without them."""
    models = models_of(view.cluster)
    inside = np.flatnonzero((view.instance != NOWHERE) & ~view.ended)
    ends = finishes(view, models, inside)
    context = (view.requests.prompt_tokens[rows] + view.generated[rows]).astype(np.float64)
    first = models[int(view.cluster.by_sequence[0])]
    work = float(first.full_cost(Work(believed(view, rows).mean(), context, context)).sum())
    ordered = np.sort(ends)
    levels = (np.cumsum(ordered) + work) / np.arange(1, len(ends) + 1)
    enough = levels <= np.append(ordered[1:], np.inf)
    return float(levels[enough.argmax()]), ends


def finishes(view: View, models: list[FinishModel], inside: IntArray) -> FloatArray:
    """Return about when each instance would end what it has, rows `inside`, shape (N,)."""
    # Sums of fractions depend on their order, which must not depend on labels.
    inside = inside[np.argsort(view.requests.sequence[inside])]
    count, where = len(models), view.instance[inside]
    tokens = believed(view, inside).mean()
    context = (view.requests.prompt_tokens[inside] + view.generated[inside]).astype(np.float64)
    waits: BoolArray = view.state[inside] != RUNNING
    longest = np.zeros(count)
    np.maximum.at(longest, where, tokens)
    total = np.bincount(where, tokens, count)
    held = np.bincount(where, tokens * (context + tokens / 2), count)
    prefill = np.bincount(where, np.where(waits, context, 0), count)
    return np.array([model.roughly(*sums) for model, *sums in zip(models, total, longest, held, prefill, strict=True)])
