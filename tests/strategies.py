"""Hypothesis strategies: small clusters and workloads that reach every branch of the engine."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.kv_moves import KvMoves
from makespan.schedulers.prefill_step_time import PrefillStepTime
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.turns import Turns
from makespan.schedulers.types import IntArray


@dataclass(frozen=True)
class Case:
    """A workload and a cluster on which every request fits."""

    requests: Requests
    output_tokens: IntArray
    cluster: Cluster
    turns: Turns | None = None


COEFFICIENTS = st.sampled_from([0.0, 1e-6, 3.7e-5])


@st.composite
def tables(draw: st.DrawFn, most: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    knots = draw(st.lists(st.integers(1, most), min_size=1, max_size=4, unique=True).map(sorted))
    base = draw(st.lists(st.floats(1e-3, 5e-2), min_size=len(knots), max_size=len(knots)).map(sorted))
    return tuple(knots), tuple(base)


@st.composite
def step_times(draw: st.DrawFn, *, prefill_steps: bool = True) -> StepTime:
    """Draw the linear law, or one with a law of its own for steps that prefill; contexts cost by their padding or not."""
    decode = draw(tables(12))
    if not (prefill_steps and draw(st.booleans())):
        return StepTime(*decode, draw(COEFFICIENTS), draw(COEFFICIENTS))
    prefill = PrefillStepTime(*draw(tables(60)), draw(COEFFICIENTS), draw(COEFFICIENTS), draw(COEFFICIENTS))
    return StepTime(*decode, draw(COEFFICIENTS), prefill_steps=prefill, padded_kv_share=draw(st.sampled_from([0, 0.3, 1])))


def kv_moves() -> st.SearchStrategy[KvMoves | None]:
    """Draw how KV travels: in no time, for about the time of a step, or for many; or not at all."""
    moves = st.builds(KvMoves, st.just(1), st.sampled_from([1e2, 1e4, 1e15]), st.sampled_from([0, 0.003, 0.5]))
    return st.none() | moves


@st.composite
def turns_of(draw: st.DrawFn, outputs: list[int]) -> Turns:
    """Cut outputs into up to four turns."""
    tokens: list[int] = []
    first = [0]
    for output in outputs:
        cuts = draw(st.lists(st.integers(1, max(output - 1, 1)), max_size=3, unique=True).map(sorted))
        edges = [0, *(cut for cut in cuts if cut < output), output]
        tokens += np.diff(edges).tolist()
        first.append(len(tokens))
    gaps = draw(st.lists(st.sampled_from([0.0, 0.004, 0.7]), min_size=len(tokens), max_size=len(tokens)))
    added = draw(st.lists(st.sampled_from([0, 1, 17, 40]), min_size=len(tokens), max_size=len(tokens)))
    for end in first[1:]:
        gaps[end - 1], added[end - 1] = 0.0, 0
    return Turns.of(first, tokens, gaps, added)


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    arrivals: bool = False,
    mixed: bool = True,
    max_requests: int = 24,
    prefill_steps: bool = True,
    kv_travels: bool = False,
    late_orders: bool = False,
    agentic: bool = False,
    shares: bool = False,
) -> Case:
    """Draw tight cases: few slots, few blocks, small budgets, groups, and equal lengths that make ties."""
    count = draw(st.integers(1, max_requests))
    length = st.integers(1, 60) | st.sampled_from([1, 2, 15, 16, 17, 32])
    columns = st.lists(length, min_size=count, max_size=count)
    prompts, outputs = draw(columns), draw(columns)
    group = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    if shares and draw(st.booleans()):
        prompts = [prompts[group.index(number)] for number in group]
    arrival = draw(st.lists(st.floats(0, 2), min_size=count, max_size=count)) if arrivals else None
    turns = draw(turns_of(outputs)) if agentic and draw(st.booleans()) else None
    added = np.zeros(count, dtype=np.int64) if turns is None else turns.added_of_requests
    needed = max(p + o + int(a) for p, o, a in zip(prompts, outputs, added, strict=True))
    least_blocks = -(-needed // 16)

    def instance() -> Instance:
        max_batch = draw(st.integers(1, 8))
        ahead, keeps = draw(st.booleans()), draw(st.booleans())
        return Instance(
            step_time=draw(step_times(prefill_steps=prefill_steps)),
            kv_capacity_tokens=16 * draw(st.integers(least_blocks, least_blocks + 12)),
            max_batch=max_batch,
            max_batched_tokens=draw(st.integers(max_batch, max_batch + 60)),
            async_scheduling=ahead,
            keeps_kv=keeps,
            shares_prompts=shares and draw(st.booleans()),
        )

    moves = draw(kv_moves()) if kv_travels else None
    latency = draw(st.sampled_from([0, 1e-9, 0.003, 0.5])) if late_orders else 0

    size = draw(st.integers(1, 4))
    if mixed and draw(st.booleans()):
        made = [instance() for _ in range(size)]
        cluster = Cluster(tuple(replace(i, sequence=k) for k, i in enumerate(made)), moves, latency)
    else:
        cluster = Cluster.uniform(instance(), size, kv_moves=moves, dispatch_latency_s=latency)
    requests = Requests.of(prompts, np.full(count, 64), group=group, arrival=arrival)
    return Case(requests, np.array(outputs, dtype=np.int64), cluster, turns)
