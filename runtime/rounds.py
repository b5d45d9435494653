"""Many iterations of RL in virtual time: a round policy plays an epoch of prompts on a simulated cluster."""

from dataclasses import dataclass, replace

import numpy as np

from makespan.runtime.courses import Inform, Setting, barrier, handover, interrupt
from makespan.runtime.draining import drain
from makespan.runtime.ledger import Ledger
from makespan.runtime.prompt_stream import PromptStream
from makespan.runtime.round_record import Played, Round, Step
from makespan.schedulers.instances import Cluster
from makespan.schedulers.round_policy import RoundPolicy
from makespan.schedulers.training_time import TrainingTime


@dataclass(frozen=True, slots=True, eq=False)
class RoundWorld:
    """What all round policies share.

    Parameters
    ----------
    stream
        The epoch.
    cluster
        All instances, those of a trainer of its own included: it takes the last ones.
    training
        The trainer on all of them; on a share of them it takes longer by as much.
    prompts, responses
        What a training step wants, both at least 1.
    transfer_s
        Seconds from the end of a step until its weights are on every instance, not negative.
    """

    stream: PromptStream
    cluster: Cluster
    training: TrainingTime
    prompts: int
    responses: int
    transfer_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("prompts", "responses"):
            if getattr(self, name) < 1:
                raise ValueError(f"a training step must want at least 1 of {name}, got {getattr(self, name)}")
        if not self.transfer_s >= 0:
            raise ValueError(f"a transfer must not take negative time, got {self.transfer_s} s")

    def split(self, share: float) -> tuple[Cluster, TrainingTime]:
        """Return the instances that generate, and the trainer when this share of them is its own, at least one if any."""
        count = len(self.cluster)
        taken = 0 if share == 0 else max(1, round(share * count))
        if taken >= count:
            raise ValueError(f"a trainer of its own must leave an instance to generation, got {taken} of {count} for it")
        time, slower = self.training, count / (taken or count)
        time = replace(time, token_s=time.token_s * slower, token_pair_s=time.token_pair_s * slower)
        return self.cluster.only(np.arange(count - taken)), time


COURSES = {"barrier": barrier, "interrupt": interrupt, "handover": handover, "drain": drain}


def play(policy: RoundPolicy, world: RoundWorld, inform: Inform, steps: int | None = None) -> Played:
    """Run a round policy.

    Parameters
    ----------
    policy
        Who decides.
    world
        What, where, and what a step is.
    inform
        Who knows.
    steps
        Training steps after which to stop; None for the whole epoch, with nothing left undone.

    Raises
    ------
    PolicyError
        When the policy asks for what cannot be done, or comes to a halt.
    """
    cluster, training = world.split(policy.trainer_share)
    ledger = Ledger(world.stream, world.prompts, world.responses, policy.unit == "sample", policy.in_order, cluster.slots)
    setting = Setting(policy, ledger, cluster, training, world.transfer_s, inform)
    rounds: list[Round] = []
    trained: list[Step] = []
    for done in COURSES[policy.course](setting):
        if isinstance(done, Round):
            rounds.append(done)
        else:
            trained.append(done)
            if len(trained) == steps:
                break
    return Played(
        rounds=tuple(rounds),
        steps=tuple(trained),
        seconds=trained[-1].end_s if trained else 0.0,
        generating=len(cluster),
        slots=cluster.slots,
        generated_tokens=ledger.generated_tokens,
        wasted_tokens=ledger.wasted_tokens,
        buffered_tokens=ledger.buffered_tokens,
        open_samples=len(ledger.samples),
        dropped=tuple(ledger.dropped),
    )
