"""How generation and training share time while a round policy is played: in turns, at once, or handed over."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from math import inf

import numpy as np

from makespan.runtime.dispatcher import Dispatcher
from makespan.runtime.engine import Ended, Timeline
from makespan.runtime.ledger import Ledger
from makespan.runtime.open_samples import Issued
from makespan.runtime.policy_answers import PolicyError
from makespan.runtime.round_record import Round, Step
from makespan.runtime.simulated_cluster import SimulatedCluster
from makespan.runtime.stage import simulate_stage
from makespan.schedulers.backlog import RoundPlan
from makespan.schedulers.estimates import Information
from makespan.schedulers.instances import Cluster
from makespan.schedulers.issues import KeepAll
from makespan.schedulers.requests import Requests
from makespan.schedulers.round_policy import RoundPolicy
from makespan.schedulers.training_order import stage_seconds
from makespan.schedulers.training_time import TrainingTime
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import FINISHED, View

Inform = Callable[[Requests, IntArray], Information]
"""Who knows about the requests of one round, and about what they turn out to generate in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """A round policy, its books, the instances that generate, the trainer, and who knows."""

    policy: RoundPolicy
    ledger: Ledger
    cluster: Cluster
    training: TrainingTime
    transfer_s: float
    inform: Inform

    def training_s(self, rows: IntArray) -> float:
        """Return seconds from the start of training on `rows` until the new weights are there."""
        return stage_seconds(self.training, self.ledger.sequence_tokens(rows).astype(np.float64)) + self.transfer_s

    def next_round(self) -> tuple[RoundPlan, Issued | None]:
        """Ask what to issue and take it down."""
        plan = self.policy.between.next_round(self.ledger.backlog())
        return plan, self.ledger.issue(plan)

    def simulate(self, plan: RoundPlan, issued: Issued, number: int) -> Timeline:
        """Run a round that nothing interrupts."""
        stage = replace(self.policy.policy_of(number), issue=plan.issue)
        information = self.inform(issued.requests, issued.output_tokens)
        return simulate_stage(issued.requests, issued.output_tokens, self.cluster, stage, information).timeline

    def whole(self, plan: RoundPlan) -> None:
        """Refuse a plan that stops a round which runs beside training."""
        if not isinstance(plan.issue, KeepAll):
            raise PolicyError("a round beside training must keep all its requests, got an issue that aborts some")

    def record(self, issued: Issued, timeline: Timeline, start_s: float, seconds: float) -> Round:
        """Return the record of a round that has yet to be taken down."""
        started, ended = ~np.isnan(timeline.admitted), np.sort(timeline.ended)
        return Round(
            start_s=start_s,
            seconds=seconds,
            requests=len(issued.rows),
            generated_tokens=int(timeline.generated.sum()),
            resumed_tokens=int(self.ledger.samples["generated"][issued.rows[started]].sum()),
            useful_s=float((timeline.prefill_s + timeline.decode_s).sum()),
            slot_s=float(timeline.batch_s.sum()),
            tail_s=float(ended[-1] - ended[len(ended) - 1 - len(ended) // 10]),
        )

    def halted(self) -> PolicyError:
        """Return the error for a rule that neither issues enough for a step nor anything else."""
        return PolicyError(f"a round policy must go on, got one that stops with {len(self.ledger.samples)} samples open")


def barrier(setting: Setting) -> Iterator[Round | Step]:
    """Generate until the round stops, train, and again: everything waits for everything."""
    ledger, now = setting.ledger, 0.0
    for number in count():
        while (rows := ledger.batch()) is not None:
            seconds = setting.training_s(rows)
            yield ledger.train(rows, now, now + seconds)
            now += seconds
            if not setting.policy.keeps:
                ledger.forget()
        if ledger.over:
            return
        plan, issued = setting.next_round()
        if issued is None:
            raise setting.halted()
        timeline = setting.simulate(plan, issued, number)
        seconds = float(timeline.ended.max())
        yield setting.record(issued, timeline, now, seconds)
        ledger.close(issued, timeline, now)
        now += seconds


def interrupt(setting: Setting) -> Iterator[Round | Step]:
    """Generate and train at once: a round lasts from one version of the weights to the next."""
    ledger, now = setting.ledger, 0.0
    for number in count():
        if ledger.over:
            return
        plan, issued = setting.next_round()
        setting.whole(plan)
        rows = ledger.batch()
        start, end = 0.0, 0.0 if rows is None else setting.training_s(rows)
        if issued is not None:
            engine = Interruptible(setting.cluster, issued.requests, issued.output_tokens)
            engine.alarm_s = end if rows is not None else inf
            stage = replace(setting.policy.policy_of(number), issue=NewWeights(engine))
            information = setting.inform(issued.requests, issued.output_tokens)
            for ended in Dispatcher(issued.requests, engine, stage, information).stream():
                ledger.note(issued, ended[engine.state[ended] == FINISHED], now + engine.now)
                found = ledger.batch() if rows is None else None
                if found is not None:
                    rows, start = found, engine.now
                    end = engine.alarm_s = start + setting.training_s(found)
            timeline = engine.timeline()
            # What runs leaves at the end of its step, which may be after the weights have come.
            end = max(end, float(timeline.ended.max()))
            yield setting.record(issued, timeline, now, end)
            ledger.close(issued, timeline, now)
        if rows is not None:
            yield ledger.train(rows, now + start, now + end)
            if not setting.policy.keeps:
                ledger.forget()
        elif not ledger.over:
            raise setting.halted()
        now += end


def handover(setting: Setting) -> Iterator[Round | Step]:
    """Train on batch i while batch i + 1 is generated; an instance starts on its part when it has ended the last one's.

    No sample mixes versions: batch j is generated by version j - 1, and version j cannot be there before it starts.
    """
    ledger, free = setting.ledger, np.zeros(len(setting.cluster))
    published: list[float] = [0.0]
    ready: list[float] = []
    for number in count():
        if ledger.left:
            version = max(0, number - 1)
            begin = np.maximum(free, published[version])
            plan, issued = setting.next_round()
            setting.whole(plan)
            if issued is None:
                raise setting.halted()
            timeline = setting.simulate(plan, issued, number)
            last = np.zeros(len(free))
            np.maximum.at(last, timeline.instance, timeline.ended)
            # Instance-seconds given to this batch, as seconds of all instances.
            yield setting.record(issued, timeline, float(begin.min()), float((begin + last - free).mean()))
            ledger.close(issued, timeline, begin[timeline.instance], version)
            free = begin + last
            ready.append(float(free.max()))
            if number == 0 and ledger.left:
                continue
        if not ready:
            return
        rows = ledger.batch()
        if rows is None:
            raise setting.halted()
        start = max(ready.pop(0), published[-1])
        published.append(start + setting.training_s(rows))
        yield ledger.train(rows, start, published[-1])


class Interruptible(SimulatedCluster):
    """A simulated cluster that also gives the word back at a set time.

    Attributes
    ----------
    alarm_s
        That time, infinite at first.
    """

    alarm_s: float = inf

    def wait(self, until: float = inf) -> Ended:
        """Advance to the next moment at which some request ends, but not beyond `until` or the alarm to come."""
        return super().wait(until if self.now >= self.alarm_s else min(until, self.alarm_s))


@dataclass(frozen=True, slots=True, eq=False)
class NewWeights:
    """Stops every request when the alarm of the engine goes off."""

    engine: Interruptible

    def abort(self, view: View) -> IntArray:
        """Return everything unfinished once it has."""
        return np.flatnonzero(~view.ended & (view.now >= self.engine.alarm_s))
