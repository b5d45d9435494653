"""A part that wants to be asked from time to time is, in simulated and in real time."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from makespan.harness.experiment import simulate
from makespan.harness.generators import lognormal
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.parts import Moves, Periodic
from makespan.schedulers.placements import LeastInFlight
from makespan.schedulers.policy import Policy
from makespan.schedulers.sources import none
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View

WORKLOAD = lognormal(0.5)(None, 12, 0)
CLUSTER = Cluster.uniform(Instance(StepTime((1,), (0.01,)), 100_000, max_batch=3), 2)


@dataclass(frozen=True)
class Clock:
    """Notes when it is asked."""

    every_s: float
    asked: list[float] = field(default_factory=list)

    def move(self, view: View) -> Moves:
        self.asked.append(view.now)
        return Moves.none()

    def abort(self, view: View) -> IntArray:
        self.asked.append(view.now)
        return np.empty(0, dtype=np.int64)


@pytest.mark.parametrize("part", ["rebalance", "issue"])
def test_a_part_is_asked_at_every_multiple_of_its_period(part: str) -> None:
    clock = Clock(0.37)
    policy = replace(Policy(placement=LeastInFlight()), **{part: clock})
    timeline = simulate(WORKLOAD, CLUSTER, policy, none(WORKLOAD.requests)).timeline
    due = np.arange(0, timeline.ended.max(), 0.37)
    assert np.isin(np.round(due, 9), np.round(clock.asked, 9)).all()
    assert isinstance(clock, Periodic)


def test_being_asked_more_often_changes_nothing_by_itself() -> None:
    policies = [Policy(placement=LeastInFlight()), Policy(placement=LeastInFlight(), rebalance=Clock(0.0123))]
    runs = [simulate(WORKLOAD, CLUSTER, policy, none(WORKLOAD.requests)).timeline for policy in policies]
    for name in runs[0].__slots__:
        np.testing.assert_array_equal(getattr(runs[0], name), getattr(runs[1], name), err_msg=name)


@pytest.mark.parametrize("every_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_period_that_never_ends_or_never_passes_is_refused(every_s: float) -> None:
    with pytest.raises(ValueError, match="every_s must be at least 1e-06 and finite, got"):
        Policy(rebalance=Clock(every_s))
