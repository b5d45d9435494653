"""One generation stage in virtual time: a policy drives the simulated cluster until every request has ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from makespan.runtime.dispatcher import Dispatcher
from makespan.runtime.elastic_cluster import Change
from makespan.runtime.engine import Timeline
from makespan.runtime.fast_path import simulate_plan
from makespan.runtime.policy_answers import Asking, PolicyError, estimates_of
from makespan.runtime.simulated_cluster import SimulatedCluster
from makespan.schedulers.estimates import Information
from makespan.schedulers.instances import Cluster
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.turns import Turns
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a stage gave: the timeline, wall seconds of deciding and of the rest, number of events.

    `plan_s` is what of `decide_s` passed before the first request was handed over; in virtual time it takes none.
    """

    timeline: Timeline
    decide_s: float
    simulate_s: float
    events: int
    plan_s: float


def simulate_stage(
    requests: Requests,
    output_tokens: IntArray,
    cluster: Cluster,
    policy: Policy,
    information: Information,
    changes: Sequence[Change] = (),
    turns: Turns | None = None,
) -> Run:
    """Run one generation stage, on the fast path where the policy settles everything at the start.

    Parameters
    ----------
    requests, output_tokens
        What is asked for and how long each output turns out to be.
    cluster, policy, information
        Where, who decides, who knows.
    changes
        When which instance joins or leaves.
    turns
        After which tokens requests call a tool; None for never.
    """
    at_once = not requests.arrival.any() and not changes and turns is None and not cluster.dispatch_latency_s
    if policy.decides_once and at_once:
        return _simulate_plan(requests, output_tokens, cluster, policy, information)
    started = perf_counter()
    engine = SimulatedCluster(cluster, requests, output_tokens, changes=changes, turns=turns)
    dispatcher = Dispatcher(requests, engine, policy, information)
    dispatcher.run()
    wall = perf_counter() - started
    return Run(engine.timeline(), dispatcher.decide_s, wall - dispatcher.decide_s, dispatcher.events, dispatcher.plan_s)


def _simulate_plan(
    requests: Requests, output_tokens: IntArray, cluster: Cluster, policy: Policy, information: Information
) -> Run:
    started = perf_counter()
    with Asking("a policy part"):
        view = View.at_start(cluster, requests, estimates_of(information, requests))
        rows = policy.ordered(view, np.arange(len(requests)))
        where = np.asarray(policy.placement.place(view, rows), dtype=np.int64)
        keys = policy.order.keys(view, rows)
    if where.shape != rows.shape or where.min() < 0 or where.max() >= len(cluster):
        raise PolicyError(
            f"a placement that places at once must name an instance 0 to {len(cluster) - 1} for each of {len(rows)} rows, "
            f"got {len(where)} from {where.min(initial=0)} to {where.max(initial=0)}"
        )
    decided = perf_counter()
    timeline = simulate_plan(cluster, requests, output_tokens, rows, where, keys)
    return Run(timeline, decided - started, perf_counter() - decided, 3 * len(requests), decided - started)
