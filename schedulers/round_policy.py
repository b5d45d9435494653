"""A policy over many iterations: a rule between them, a policy within them, and how generation and training share time."""

from dataclasses import dataclass, field
from typing import Literal

from makespan.schedulers.backlog import Between
from makespan.schedulers.placements import LeastInFlight
from makespan.schedulers.policy import Policy


def _least_in_flight() -> Policy:
    return Policy(placement=LeastInFlight())


@dataclass(frozen=True, slots=True)
class RoundPolicy:
    """How many requests each iteration issues, what becomes of the unfinished, and who decides within a stage.

    Parameters
    ----------
    between
        What the next round issues.
    stage
        The policy within a round; its issue is the one that `between` asks for.
    turns
        Policies that take turns instead of `stage`, one round each.
    course
        ``"barrier"``: generate, then train, on the same instances. ``"interrupt"``: both at once on instances of their own;
        when new weights arrive, what runs is stopped and goes on under them with its prefix computed again.
        ``"handover"``: the same instances of their own, and each starts on the next batch when it has ended its part of the
        last one and weights at most one step old are there. ``"drain"``: each takes new prompts, and the newest weights,
        when it has ended all that it had.
    keeps
        Whether what an unfinished sample has generated is kept for its next round, or thrown away.
    unit
        What a training step consists of: whole prompts, or any samples.
    in_order
        Whether steps are trained on strictly in the order of issue, or on what has finished, oldest first.
    trainer_share
        Share of the instances that only train, from 0 (they take turns) to below 1.
    staleness
        Bound on how many versions lie between the first token of a sample and the weights it updates; None where none is
        promised.
    information
        Names of the information sources it is meant for; empty when it uses none.
    source
        Where it was published or which system does this.
    """

    between: Between
    stage: Policy = field(default_factory=_least_in_flight)
    turns: tuple[Policy, ...] = ()
    course: Literal["barrier", "interrupt", "handover", "drain"] = "barrier"
    keeps: bool = False
    unit: Literal["prompt", "sample"] = "prompt"
    in_order: bool = False
    trainer_share: float = 0.0
    staleness: int | None = 0
    information: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        if self.course not in ("barrier", "interrupt", "handover", "drain"):
            raise ValueError(f"a course must be barrier, interrupt, handover or drain, got {self.course!r}")
        if self.unit not in ("prompt", "sample"):
            raise ValueError(f"a unit must be prompt or sample, got {self.unit!r}")
        if not 0 <= self.trainer_share < 1:
            raise ValueError(f"a trainer's share of the instances must be from 0 to below 1, got {self.trainer_share}")
        if (self.course == "barrier") != (self.trainer_share == 0):
            raise ValueError(
                "instances of its own must go to the trainer if and only if it works beside generation, "
                f"got a share of {self.trainer_share} for course {self.course}"
            )
        if self.course == "drain" and (self.in_order or self.unit == "sample"):
            raise ValueError("instances that drain must train on whole prompts as they finish, got samples or a fixed order")
        if self.staleness is not None and self.staleness < 0:
            raise ValueError(f"a bound on staleness must not be negative, got {self.staleness}")

    def policy_of(self, round_number: int) -> Policy:
        """Return the policy within a round."""
        return self.turns[round_number % len(self.turns)] if self.turns else self.stage
