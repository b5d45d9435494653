"""How fast and how big: planning and simulating a million requests, events per second, the solver, another simulator.

Every figure also asserts its answer. Targets are reported beside the figures, never asserted: machines differ.
"""

import resource
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import pytest

from makespan.harness.defaults import PROFILES
from makespan.harness.experiment import simulate
from makespan.harness.generators import lognormal
from makespan.harness.laws import assert_laws
from makespan.harness.other_simulator import aisimulate_run
from makespan.harness.speed import Speed
from makespan.harness.workload import Workload
from makespan.harness.workloads import load_workload
from makespan.runtime.fast_path import simulate_plan
from makespan.runtime.profiles import load_profile
from makespan.schedulers.bounds import lower_bound
from makespan.schedulers.catalog import fifo, lpt, pull_lpt
from makespan.schedulers.catalog import optimal as longest_first
from makespan.schedulers.instances import Cluster
from makespan.schedulers.kv_moves import KvMoves
from makespan.schedulers.optimal import Optimal
from makespan.schedulers.orders import LongestFirst
from makespan.schedulers.parts import Moves
from makespan.schedulers.policy import Policy
from makespan.schedulers.pull import Pull
from makespan.schedulers.registry import load_policy, policies
from makespan.schedulers.sources import oracle
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import RUNNING, View

pytestmark = pytest.mark.bench
PLANNERS = [name for name in policies.names() if name != "optimal"]
Report = Callable[[Speed], None]


def stage(requests: int, instances: int, max_batch: int) -> tuple[Workload, Cluster]:
    """Return a heavy-tailed workload and a cluster of StreamRL's 7B instances."""
    instance = load_profile("streamrl-7b-h800").instance(max_batch=max_batch)
    return lognormal(1.0)(None, requests, 0), Cluster.uniform(instance, instances)


@pytest.fixture(scope="module")
def million() -> tuple[Workload, Cluster]:
    """A million requests on 1,024 instances."""
    return stage(1_000_000, 1024, 256)


@pytest.mark.parametrize("name", PLANNERS)
def bench_planning_a_million_requests(name: str, million: tuple[Workload, Cluster], benchmark: Any, speeds: Report) -> None:
    """Order and place a million requests on 1,024 instances."""
    workload, cluster = million
    view = View.at_start(cluster, workload.requests, oracle(workload.output_tokens).estimate(workload.requests))
    policy = load_policy(name)

    def plan() -> IntArray:
        return policy.placement.place(view, policy.ordered(view, np.arange(len(workload))))

    where = benchmark.pedantic(plan, rounds=3)
    assert 0 <= where.min() <= where.max() < len(cluster)
    speeds(Speed(f"planning 1,000,000 requests on 1,024 instances, {name}", benchmark.stats.stats.median, "s", 2))


def bench_simulating_a_million_requests(million: tuple[Workload, Cluster], benchmark: Any, speeds: Report) -> None:
    """Simulate a decide-once policy on a million requests."""
    workload, cluster = million
    information = oracle(workload.output_tokens)
    run = benchmark.pedantic(lambda: simulate(workload, cluster, lpt, information), rounds=1)
    assert_laws(workload, cluster, run.timeline, lower_bound(workload.requests, workload.output_tokens, cluster))
    speeds(Speed("simulating 1,000,000 requests on 1,024 instances, lpt", run.simulate_s, "s", 30))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    speeds(Speed("peak memory of the process after planning and simulating them", peak, "GiB", 2))


@pytest.mark.parametrize("profile", PROFILES)
def bench_bounding_a_million_requests(profile: str, benchmark: Any, speeds: Report) -> None:
    """Compute the lower bound of a million requests on 1,024 instances."""
    workload = lognormal(1.0)(None, 1_000_000, 0)
    cluster = Cluster.uniform(load_profile(profile).instance(max_batch=256), 1024)
    bound = benchmark.pedantic(
        lambda: lower_bound(workload.requests, workload.output_tokens, cluster), rounds=3, warmup_rounds=1
    )
    longest = int(workload.output_tokens.max())
    assert bound >= longest * float(cluster.instances[0].step_time(1))
    speeds(Speed(f"lower bound of 1,000,000 requests on 1,024 instances, {profile}", benchmark.stats.stats.median, "s", 2))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("per_slot", [1, 4, 16])
@pytest.mark.parametrize("name", ["smollm2", "codemath_10k", "lognormal_1.0"])
def bench_certifying_a_plan(name: str, per_slot: int, profile: str, benchmark: Any, speeds: Report) -> None:
    """Plan 512 requests on 8 instances and prove how far from the best the simulated plan is."""
    workload = load_workload(name, 512, 0)
    cluster = Cluster.uniform(load_profile(profile).instance(max_batch=512 // 8 // per_slot), 8)
    view = View.at_start(cluster, workload.requests, oracle(workload.output_tokens).estimate(workload.requests))
    rows = longest_first.ordered(view, np.arange(512))
    solution = benchmark.pedantic(lambda: Optimal(time_limit_s=2).solve(view, rows), rounds=1)
    keys = np.arange(512, dtype=np.float64)
    timeline = simulate_plan(cluster, workload.requests, workload.output_tokens, rows, solution.instance, keys)
    assert_laws(workload, cluster, timeline, solution.moving_bound_s)
    end = float(timeline.ended.max())
    assert end >= solution.bound_s
    what = (
        f"certificate of 512 x 8, {name} on {profile} at {per_slot} per slot: {end / solution.bound_s - 1:.2%} above any "
        f"schedule that does not interrupt or move, {end / solution.moving_bound_s - 1:.2%} above any"
    )
    speeds(Speed(what, benchmark.stats.stats.median, "s", 60))


def bench_event_loop(benchmark: Any, speeds: Report) -> None:
    """Drive the event loop with a policy that decides at every completion."""
    workload, cluster = stage(8192, 64, 32)
    information = oracle(workload.output_tokens)
    run = benchmark.pedantic(lambda: simulate(workload, cluster, pull_lpt, information), rounds=3, warmup_rounds=1)
    assert_laws(workload, cluster, run.timeline, lower_bound(workload.requests, workload.output_tokens, cluster))
    rate = run.events / benchmark.stats.stats.median
    speeds(Speed("event loop at 8,192 requests x 64 instances, pull_lpt", rate, "events/s", 50_000))


@dataclass(frozen=True, slots=True)
class EvenOut:
    """Moves a running request from the fullest instance to the emptiest at every decision."""

    def move(self, view: View) -> Moves:
        most, least = int(view.running.argmax()), int(view.in_flight.argmin())
        if view.running[most] < view.in_flight[least] + 2:
            return Moves.none()
        here = np.flatnonzero((view.instance == most) & (view.state == RUNNING))
        return Moves(here[:1], np.array([least]))


def bench_event_loop_with_chunks_and_moves(benchmark: Any, speeds: Report) -> None:
    """Drive the event loop with requests that come back every 1,024 tokens, moves, and KV that travels."""
    workload, cluster = stage(8192, 64, 32)
    information = oracle(workload.output_tokens)
    moving = Cluster(cluster.instances, KvMoves(57_344, 25e9, 0.005))
    policy = Policy(order=LongestFirst(), placement=Pull(), rebalance=EvenOut(), chunk_tokens=1024)
    run = benchmark.pedantic(lambda: simulate(workload, moving, policy, information), rounds=3, warmup_rounds=1)
    assert_laws(workload, moving, run.timeline, lower_bound(workload.requests, workload.output_tokens, moving))
    assert run.timeline.moved_tokens.sum() > 0
    rate = run.events / benchmark.stats.stats.median
    speeds(Speed("event loop at 8,192 requests x 64 instances, chunks and moves", rate, "events/s", 50_000))


def bench_proving_an_optimum(benchmark: Any, speeds: Report) -> None:
    """Let the solver place 64 requests on 4 instances."""
    workload, cluster = stage(64, 4, 16)
    view = View.at_start(cluster, workload.requests, oracle(workload.output_tokens).estimate(workload.requests))
    solution = benchmark.pedantic(lambda: Optimal(time_limit_s=30).solve(view, np.arange(64)), rounds=1)
    assert solution.bound_s <= solution.objective_s * (1 + 1e-9)
    what = f"optimal on 64 requests x 4 instances ({solution.status}, gap {solution.gap:.6f})"
    speeds(Speed(what, benchmark.stats.stats.median, "s", 30))


@pytest.mark.parametrize("requests", [512, 8192])
def bench_beside_aisimulate(requests: int, benchmark: Any, speeds: Report) -> None:
    """Simulate the same trace, first come first served, here and with NVIDIA's AISimulate."""
    workload, cluster = stage(requests, 8, 64)
    information = oracle(workload.output_tokens)
    run = benchmark.pedantic(lambda: simulate(workload, cluster, fifo, information), rounds=3, warmup_rounds=1)
    assert run.timeline.finished.all()
    speeds(Speed(f"{requests:,} requests x 8 instances, fifo, here", benchmark.stats.stats.median, "s"))
    runs = [aisimulate_run(workload, instances=8, max_batch=64) for _ in range(3)]
    assert runs[0][0] > 0
    wall = median(seconds for _, seconds in runs)
    speeds(Speed(f"{requests:,} requests x 8 instances, fifo, aisimulate", wall, "s"))
