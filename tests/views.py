"""Views in the middle of a stage, made of what a test cares about."""

from dataclasses import replace
from typing import Any

import numpy as np

from makespan.schedulers.estimates import Estimates
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.requests import Requests
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.view import NOWHERE, OUTSIDE, QUEUED, RUNNING, View

FLAT = Instance(StepTime((1,), (0.01,)), 16 * 1000, max_batch=8)
RISING = Instance(StepTime((1, 64), (0.01, 0.04)), 10**7, max_batch=64)


def view_of(
    lengths: Any,
    *,
    cluster: Cluster | None = None,
    prompts: Any = 1,
    cap: int = 10_000,
    group: Any = None,
    arrival: Any = None,
    instance: Any = NOWHERE,
    state: Any = OUTSIDE,
    generated: Any = 0,
    now: float = 0.0,
    quantiles: Any = None,
) -> View:
    """Return a view of one request for each believed length; numbers hold for all of them."""
    count = len(lengths)

    def column(value: Any) -> Any:
        return np.full(count, value, dtype=np.int64) if np.isscalar(value) else np.asarray(value, dtype=np.int64)

    requests = Requests.of(column(prompts), np.full(count, cap), group=group, arrival=arrival)
    levels = () if quantiles is None else (0.5, 0.9)
    estimates = Estimates(np.asarray(lengths, dtype=np.float64), "given", levels, quantiles)
    where, states = column(instance), column(state)
    view = View.at_start(cluster or Cluster.uniform(FLAT, 2), requests, estimates)
    size = len(view.cluster)
    inside = (states == QUEUED) | (states == RUNNING)
    return replace(
        view,
        now=now,
        instance=where,
        state=states,
        generated=column(generated),
        ended=states > RUNNING,
        arrived=requests.arrival <= now,
        in_flight=np.bincount(where[(where >= 0) & (states <= RUNNING)], minlength=size),
        running=np.bincount(where[states == RUNNING], minlength=size),
        queued=np.bincount(where[states == QUEUED], minlength=size),
        kv_blocks_used=np.bincount(
            where[inside], -(-(requests.prompt_tokens + column(generated))[inside] // 16), size
        ).astype(np.int64),
    )
