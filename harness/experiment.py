"""An experiment: workload x cluster x policy x information, run in simulation and measured."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from makespan.harness import measures
from makespan.harness.informations import information_name, make_information
from makespan.harness.laws import assert_laws
from makespan.harness.record import Record
from makespan.harness.workload import Workload
from makespan.ranker.calibrated import Calibrated
from makespan.runtime.engine import Timeline
from makespan.runtime.stage import Run, simulate_stage
from makespan.schedulers.bounds import lower_bound
from makespan.schedulers.catalog import fifo
from makespan.schedulers.estimates import Information
from makespan.schedulers.instances import Cluster
from makespan.schedulers.policy import Policy
from makespan.schedulers.sources import none


def simulate(workload: Workload, cluster: Cluster, policy: Policy, information: Information) -> Run:
    """Run one generation stage in virtual time, on the fast path where the policy settles everything at the start."""
    return simulate_stage(workload.requests, workload.output_tokens, cluster, policy, information)


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
        bound = self._bound_of(run.timeline)
        assert_laws(self.workload, self.cluster, run.timeline, bound)
        record = self._record(name, information, run, bound, "simulated")
        if isinstance(source, Calibrated) and source.judged:
            return replace(record, coverage_80=source.coverage)
        return record

    def measured(self, name: str, policy: Policy, information: str, run: Run, engine: str, repetition: int) -> Record:
        """Return the record of a run on real instances, beside what the simulation says of it.

        The laws are checked but for the bound (L4): it rests on measured step times, and the next step may be shorter.
        """
        assert_laws(self.workload, self.cluster, run.timeline, 0.0)
        record = self._record(name, information, run, self._bound_of(run.timeline), engine)
        source = make_information(information, self.workload, self.seed)
        foretold = simulate(self.workload, self.cluster, policy, source)
        # Real instances wait for the first plan, which takes virtual ones no time.
        simulated = measures.makespan(foretold.timeline) + foretold.plan_s
        return replace(
            record,
            repetition=repetition,
            simulated_makespan_s=simulated,
            measured_makespan_s=record.makespan_s,
            error=simulated / record.makespan_s - 1,
        )

    def _record(self, name: str, information: str, run: Run, bound: float, engine: str) -> Record:
        timeline = run.timeline
        makespan = measures.makespan(timeline)
        shares = measures.time_share(timeline)
        delivered = int(timeline.generated[timeline.finished].sum())
        generated = int(timeline.generated.sum())
        return Record(
            workload=self.workload.name,
            policy=name,
            information=information_name(information),
            profile=self.profile,
            engine=engine,
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
