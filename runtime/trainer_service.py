"""The trainer as the pipelines see it: it takes groups without waiting, and its death is made good by doing the rest again.

Every order since the last checkpoint is kept. When the trainer dies, a new one goes on from that checkpoint and is given the
orders that the checkpoint does not contain, in the same sequence: no sample is lost, and none is in the weights twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from makespan.runtime.engine import CannotRun
from makespan.runtime.trainer_actor import StepDone, TrainerActor, TrainerSpec
from makespan.runtime.training_sample import TrainingSample

Groups = Sequence[Sequence[TrainingSample]]
ATTEMPTS = 5
"""Deaths of the trainer within one checkpoint after which it is given up."""


class TrainerFailed(CannotRun):
    """The trainer cannot be started, or keeps dying."""


@dataclass(slots=True, eq=False)
class Step:
    """A step that has been ordered: the version it makes, and references to what came of it."""

    version: int
    done: Any = None
    weights: Any = None


class TrainerService:
    """A trainer that survives its process.

    Parameters
    ----------
    spec
        What to train and how.
    cores
        Cores that Ray is to set aside for it.
    gpus
        GPUs that Ray is to set aside for it.
    """

    def __init__(self, spec: TrainerSpec, *, cores: int = 1, gpus: int = 0) -> None:
        self._spec = spec
        self._resources = {"num_cpus": cores, "num_gpus": gpus}
        self._orders: list[Groups | Step] = []
        self._failures: list[Any] = []
        self._deaths = 0
        self.replaced = 0
        self.version = self._start()
        self._ordered = self.version

    @property
    def process(self) -> int:
        """The process of the trainer on its machine, to look at or to kill."""
        return self._pid

    def learn(self, groups: Groups) -> None:
        """Have groups learned. Does not wait."""
        self._orders.append(groups)
        self._send(groups)

    def finish(self) -> Step:
        """Have the step ended. Does not wait: `result` does."""
        self._ordered += 1
        step = Step(self._ordered)
        self._orders.append(step)
        self._send(step)
        return step

    def result(self, step: Step) -> tuple[StepDone, float, Any]:
        """Wait for a step.

        Returns
        -------
        done, behind_s, weights
            What the trainer says, by how many seconds this process's clock is ahead of the trainer's, and a reference to the
            weights.
        """
        while True:
            ray.wait([step.done])
            found = self.result_if_done(step)
            if found is not None:
                return found

    def result_if_done(self, step: Step) -> tuple[StepDone, float, Any] | None:
        """Return the result of a step, or None while it is being computed, perhaps once more."""
        if not ray.wait([step.done], timeout=0)[0]:
            return None
        try:
            # An earlier order that failed says more than what followed from it.
            for failure in self._failures:
                ray.get(failure)
            done: StepDone = ray.get(step.done)
        except RayTaskError as error:
            raise error.cause from None
        except RayActorError:
            self._recover()
            return None
        self._failures = []
        self.version = step.version
        self._forget(step)
        return done, monotonic() - done.clock, step.weights

    @property
    def by_nccl(self) -> bool:
        """Whether the trainer itself sends its weights."""
        return self._spec.nccl

    def send(self, actors: list[Any], version: int) -> Any:
        """Have the trainer send its weights to instances; returns a reference to the seconds that took."""
        return self._actor.send.remote(actors, version)

    def weights(self) -> Any:
        """Return a reference to the weights before the first step, which are there."""
        while True:
            weights = self._actor.weights.remote()
            try:
                # Calls are answered one after the other.
                ray.get(self._actor.pid.remote())
            except RayActorError:
                self._recover()
            else:
                return weights

    def shutdown(self) -> None:
        """Stop the trainer."""
        ray.kill(self._actor)

    def _start(self) -> int:
        """Start a trainer, once more where it dies on the way, and return the version from which it goes on."""
        actor: Any = ray.remote(TrainerActor)
        while True:
            self._actor = actor.options(**self._resources).remote(self._spec)
            try:
                version: int = ray.get(self._actor.start.remote())
                # Asked later it would wait for what is being computed.
                self._pid: int = ray.get(self._actor.pid.remote())
            except RayTaskError as error:
                raise error.cause from None
            except RayActorError:
                self._bury()
            else:
                return version

    def _bury(self) -> None:
        self._deaths += 1
        self.replaced += 1
        if self._deaths >= ATTEMPTS:
            raise TrainerFailed(f"the trainer must not die {ATTEMPTS} times in one step, see its checkpoints")
        ray.kill(self._actor)

    def _send(self, order: "Groups | Step") -> None:
        if isinstance(order, Step):
            finish = self._actor.finish.options(num_returns=2)
            order.done, order.weights = finish.remote()
        else:
            self._failures.append(self._actor.learn.remote(order))

    def _recover(self) -> None:
        """Start a trainer from the last checkpoint and repeat what that does not contain."""
        self._bury()
        version = self._start()
        contained = [k for k, order in enumerate(self._orders) if isinstance(order, Step) and order.version <= version]
        for k in contained:
            step = self._orders[k]
            assert isinstance(step, Step)
            step.done, step.weights = self._actor.finished.options(num_returns=2).remote(step.version)
        self._failures = []
        for order in self._orders[contained[-1] + 1 if contained else 0 :]:
            self._send(order)

    def _forget(self, step: Step) -> None:
        """Drop the orders that a checkpoint contains for certain."""
        if step.version % self._spec.checkpoint_every == 0:
            self._deaths = 0
            self._orders = self._orders[self._orders.index(step) + 1 :]
