"""An experiment: workload x cluster x policy x information, run in simulation and measured."""

from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import numpy as np

from makespan.harness import measures
from makespan.harness.informations import information_name, make_information
from makespan.harness.laws import assert_laws
from makespan.harness.record import Record
from makespan.harness.workload import Workload
from makespan.runtime.dispatcher import Dispatcher, PolicyError, estimates_of
from makespan.runtime.engine import Timeline
from makespan.runtime.fast_path import simulate_plan
from makespan.runtime.simulated_cluster import SimulatedCluster
from makespan.schedulers.bounds import lower_bound
from makespan.schedulers.catalog import fifo
from makespan.schedulers.estimates import Information
from makespan.schedulers.instances import Cluster
from makespan.schedulers.policy import Policy
from makespan.schedulers.sources import none
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a simulation gave: the timeline, wall seconds of deciding and of the rest, number of events."""

    timeline: Timeline
    decide_s: float
    simulate_s: float
    events: int


def simulate(workload: Workload, cluster: Cluster, policy: Policy, information: Information) -> Run:
    """Run one generation stage in virtual time, on the fast path where the policy settles everything at the start."""
    if policy.decides_once and not workload.requests.arrival.any():
        return _simulate_plan(workload, cluster, policy, information)
    started = perf_counter()
    engine = SimulatedCluster(cluster, workload.requests, workload.output_tokens)
    dispatcher = Dispatcher(workload.requests, engine, policy, information)
    dispatcher.run()
    wall = perf_counter() - started
    return Run(engine.timeline(), dispatcher.decide_s, wall - dispatcher.decide_s, dispatcher.events)


def _simulate_plan(workload: Workload, cluster: Cluster, policy: Policy, information: Information) -> Run:
    requests = workload.requests
    started = perf_counter()
    try:
        view = View.at_start(cluster, requests, estimates_of(information, requests))
        rows = policy.ordered(view, np.arange(len(requests)))
        where = np.asarray(policy.placement.place(view, rows), dtype=np.int64)
        keys = policy.order.keys(view, rows)
    except PolicyError:
        raise
    except Exception as error:
        raise PolicyError(f"a policy part raised {type(error).__name__}: {error}") from error
    if where.shape != rows.shape or where.min() < 0 or where.max() >= len(cluster):
        raise PolicyError(
            f"a placement that places at once must name an instance 0 to {len(cluster) - 1} for each of {len(rows)} rows, "
            f"got {len(where)} from {where.min(initial=0)} to {where.max(initial=0)}"
        )
    decided = perf_counter()
    timeline = simulate_plan(cluster, requests, workload.output_tokens, rows, where, keys)
    return Run(timeline, decided - started, perf_counter() - decided, 3 * len(requests))


@dataclass(eq=False)
class Cell:
    """A workload on a cluster: what all policies that are raced on it share.

    Parameters
    ----------
    workload
        The requests and their lengths.
    cluster
        The instances.
    profile
        Name of the step-time profile of the instances.
    seed
        Of everything that is drawn at random.
    """

    workload: Workload
    cluster: Cluster
    profile: str
    seed: int = 0

    @cached_property
    def lower_bound_s(self) -> float:
        """Seconds that no policy can beat."""
        return lower_bound(self.workload.requests, self.workload.output_tokens, self.cluster)

    @cached_property
    def fifo_s(self) -> float:
        """Makespan of plain round robin."""
        return measures.makespan(simulate(self.workload, self.cluster, fifo, none(self.workload.requests)).timeline)

    @property
    def headroom(self) -> float:
        """Share of the makespan of `fifo` that no policy can save more than."""
        return 1 - self.lower_bound_s / self.fifo_s

    def race(self, name: str, policy: Policy, information: str) -> Record:
        """Run `policy` with the information source of that name, check the laws and return the record."""
        source = make_information(information, self.workload, self.seed)
        run = simulate(self.workload, self.cluster, policy, source)
        timeline = run.timeline
        bound = self._bound_of(timeline)
        assert_laws(self.workload, self.cluster, timeline, bound)
        makespan = measures.makespan(timeline)
        shares = measures.time_share(timeline)
        delivered = int(timeline.generated[timeline.finished].sum())
        generated = int(timeline.generated.sum())
        return Record(
            workload=self.workload.name,
            policy=name,
            information=information_name(information),
            profile=self.profile,
            engine="simulated",
            instances=len(self.cluster),
            max_batch=int(self.cluster.max_batch.max()),
            requests=len(self.workload),
            groups=len(np.unique(self.workload.requests.group)),
            seed=self.seed,
            makespan_s=makespan,
            lower_bound_s=bound,
            gap=makespan / bound,
            tail_time_s=measures.tail_time(timeline),
            bubble=shares["idle"] + shares["recompute"],
            preemptions=int(timeline.preemptions.sum()),
            recomputed_tokens=int(timeline.recomputed.sum()),
            wasted_tokens=generated - delivered,
            generated_tokens=generated,
            delivered_tokens=delivered,
            decide_s=run.decide_s,
            simulate_s=run.simulate_s,
            events=run.events,
            requests_per_slot=len(self.workload) / self.cluster.slots,
            tail_ratio=self.workload.tail_ratio,
            headroom=self.headroom,
            speedup_over_fifo=self.fifo_s / makespan,
            time_share=shares,
            completion=measures.completion(timeline),
            batch_timeline=measures.batch_timeline(timeline, len(self.cluster)),
        )

    def _bound_of(self, timeline: Timeline) -> float:
        """Return the bound on delivering what was delivered; requests that were aborted need not have run."""
        if timeline.finished.all():
            return self.lower_bound_s
        done = np.flatnonzero(timeline.finished)
        return lower_bound(self.workload.requests.take(done), self.workload.output_tokens[done], self.cluster)
