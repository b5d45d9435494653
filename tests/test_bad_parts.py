"""Parts and information sources that answer wrongly or raise end a run with one error, never with a corrupt engine."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from makespan.harness.experiment import simulate
from makespan.harness.generators import lognormal
from makespan.runtime.policy_answers import PolicyError
from makespan.schedulers.estimates import Estimates
from makespan.schedulers.instances import Cluster, Instance
from makespan.schedulers.parts import Moves
from makespan.schedulers.policy import Policy
from makespan.schedulers.pull import Pull
from makespan.schedulers.sources import none
from makespan.schedulers.step_time import StepTime
from makespan.schedulers.testing import BrokenContract, check_policy

WORKLOAD = lognormal(0.5)(None, 16, 0)
CLUSTER = Cluster.uniform(Instance(StepTime((1,), (0.01,)), 100_000, max_batch=2), 2)


@dataclass(frozen=True)
class Answers:
    """Any part: gives one answer to every question."""

    answer: Any

    def place(self, *_: Any) -> Any:
        return self.answer

    admit = move = abort = place


def run(policy: Policy, information: Any = None) -> None:
    simulate(WORKLOAD, CLUSTER, policy, information or none(WORKLOAD.requests))


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Policy(rebalance=Answers(Moves(np.array([0]), np.array([2])))), "name an instance 0 to 1 for each of 1 rows"),
        (Policy(rebalance=Answers(Moves(np.array([0]), np.array([-2])))), "name an instance 0 to 1 for each of 1 rows"),
        (Policy(rebalance=Answers(Moves(np.array([0]), np.array([-1])))), "must let time pass, got 1,000 decisions at 0 s"),
        (Policy(rebalance=Answers(Moves(np.array([0, 1]), np.array([1])))), "for each of 2 rows"),
        (Policy(rebalance=Answers(Moves(np.array([1, 1]), np.array([1, 0])))), "must name a row once"),
        (Policy(placement=Pull(), rebalance=Answers(Moves(np.array([15]), np.array([1])))), "inside an instance"),
        (Policy(placement=Answers(np.full(16, 2))), "must name instances 0 to 1"),
        (Policy(placement=Answers(np.full(16, -1))), "got 16 requests held for ever"),
        (Policy(admission=Answers(0)), "got 16 requests held for ever"),
        (Policy(admission=Answers(99)), "must admit 0 to 8 requests, got 99"),
        (Policy(admission=Answers(-1)), "must admit 0 to 8 requests, got -1"),
    ],
)
def test_an_answer_that_cannot_be_carried_out_is_refused(policy: Policy, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        run(policy)


def test_a_placement_may_answer_with_a_list() -> None:
    run(Policy(placement=Answers([0, 1] * 8)))


class Raises:
    def estimate(self, requests: Any) -> Estimates:
        raise RuntimeError("no idea")


class RaisesLater:
    def estimate(self, requests: Any) -> Estimates:
        return Estimates(np.ones(len(requests)), "ones")

    def observe(self, event: Any) -> None:
        raise RuntimeError("no memory")


class Short(RaisesLater):
    def estimate(self, requests: Any) -> Estimates:
        return Estimates(np.ones(3), "three")


@pytest.mark.parametrize("policy", [Policy(), Policy(placement=Pull())])
@pytest.mark.parametrize(
    ("information", "message"),
    [(Raises(), "an information source raised RuntimeError: no idea"), (Short(), "must estimate 16 requests, got 3")],
)
def test_a_broken_information_source_is_one_error(policy: Policy, information: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        run(policy, information)


def test_an_information_source_that_raises_when_told_is_one_error() -> None:
    with pytest.raises(PolicyError, match="an information source raised RuntimeError: no memory"):
        run(Policy(placement=Pull()), RaisesLater())


class AbortsEverything:
    def abort(self, view: Any) -> Any:
        return np.arange(len(view.requests))


def test_conformance_notices_an_issue_that_aborts_what_has_ended() -> None:
    with pytest.raises(BrokenContract, match="must abort unfinished requests"):
        check_policy(Policy(issue=AbortsEverything()))
