"""The trainer is killed again and again: the weights come out as if it never had been, to the last bit."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from ray import cloudpickle
from tiny_model import make_tiny_model

from makespan.runtime import trainer_service
from makespan.runtime.grpo import Grpo
from makespan.runtime.ray_session import ray_session
from makespan.runtime.trainer_actor import TrainerActor, TrainerSpec
from makespan.runtime.trainer_service import TrainerFailed, TrainerService
from makespan.runtime.training_sample import TrainingSample

# Actors run in processes that do not have the folder of the tests on their path.
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]

STEPS = 7
GROUPS = 4
KILLS = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with ray_session(cores=2):
        yield make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def spec(model: Path, folder: Path, every: int = 1) -> TrainerSpec:
    return TrainerSpec(
        model=model,
        grpo=Grpo(learning_rate=1e-3, micro_batch_tokens=64),
        checkpoints=folder / "checkpoints",
        checkpoint_every=every,
    )


def groups(step: int) -> list[list[TrainingSample]]:
    """Draw the groups of a step; they depend on the step alone."""
    rng = np.random.default_rng(step)

    def sample(group: int, k: int) -> TrainingSample:
        tokens = rng.integers(1, 100, size=int(rng.integers(3, 20)))
        number = (step * GROUPS + group) * 4 + k
        return TrainingSample(
            number, step * GROUPS + group, np.array([5, 6, 7]), tokens, -rng.random(len(tokens)), float(k % 2), step
        )

    return [[sample(group, k) for k in range(4)] for group in range(GROUPS)]


def kill(trainer: TrainerService) -> None:
    """Kill the trainer's process."""
    os.kill(trainer.process, signal.SIGKILL)


def trained(model: Path, folder: Path, kills: set[tuple[int, int]], every: int = 1) -> tuple[bytes, list[float], int]:
    """Train, killing the trainer at these pairs of step and number of groups it has been given."""
    trainer = TrainerService(spec(model, folder, every))
    losses = []
    try:
        for step in range(STEPS):
            for number, group in enumerate(groups(step)):
                if (step, number) in kills:
                    kill(trainer)
                trainer.learn([group])
            ordered = trainer.finish()
            if (step, GROUPS) in kills:
                kill(trainer)
            done, _, weights = trainer.result(ordered)
            losses.append(done.report["loss"])
            assert done.report["samples"] == GROUPS * 4
        return ray.get(weights).buffer.tobytes(), losses, trainer.replaced
    finally:
        trainer.shutdown()


@pytest.fixture(scope="module")
def undisturbed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[float], int]:
    return trained(model, tmp_path_factory.mktemp("undisturbed"), set())


@pytest.mark.parametrize("every", [1, 2])
def test_a_trainer_killed_again_and_again_loses_no_sample_and_trains_none_twice(
    model: Path, tmp_path: Path, undisturbed: tuple[bytes, list[float], int], every: int
) -> None:
    rng = np.random.default_rng(every)
    kills = {(int(step), int(rng.integers(GROUPS + 1))) for step in rng.choice(STEPS, size=KILLS, replace=False)}
    weights, losses, replaced = trained(model, tmp_path, kills, every)
    # What is killed after its last answer need not be replaced.
    assert replaced == KILLS or (replaced == KILLS - 1 and (STEPS - 1, GROUPS) in kills)
    assert losses == undisturbed[1]
    assert weights == undisturbed[0]


def test_a_run_goes_on_from_its_checkpoint_in_another_process(
    model: Path, tmp_path: Path, undisturbed: tuple[bytes, list[float], int]
) -> None:
    first = TrainerService(spec(model, tmp_path))
    for group in groups(0):
        first.learn([group])
    first.result(first.finish())
    first.shutdown()
    second = TrainerService(spec(model, tmp_path))
    assert second.version == 1
    for step in range(1, STEPS):
        for group in groups(step):
            second.learn([group])
        _, _, weights = second.result(second.finish())
    assert ray.get(weights).buffer.tobytes() == undisturbed[0]
    second.shutdown()


class DiesAtStart(TrainerActor):
    """Is killed as often before it has started as its folder is named for."""

    def start(self) -> int:
        folder = self._spec.checkpoints.parent
        deaths = len(list(folder.glob("death*")))
        if deaths < int(folder.name):
            folder.mkdir(exist_ok=True)
            (folder / f"death{deaths}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().start()


def test_a_trainer_that_is_killed_while_it_starts_is_started_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_service, "TrainerActor", DiesAtStart)
    monkeypatch.setattr(trainer_service, "ATTEMPTS", 3)
    trainer = TrainerService(spec(model, tmp_path / "2"))
    assert trainer.replaced == 2
    trainer.learn(groups(0))
    assert trainer.result(trainer.finish())[0].report
    trainer.shutdown()
    with pytest.raises(TrainerFailed, match="must not die 3 times"):
        TrainerService(spec(model, tmp_path / "3"))


def test_weights_that_die_with_the_trainer_are_made_again(model: Path, tmp_path: Path) -> None:
    trainer = TrainerService(spec(model, tmp_path))
    expected = ray.get(trainer.weights()).buffer.tobytes()
    kill(trainer)
    assert ray.get(trainer.weights()).buffer.tobytes() == expected
    assert trainer.replaced == 1
    trainer.shutdown()


def test_a_trainer_that_keeps_dying_is_given_up(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_service, "ATTEMPTS", 3)
    trainer = TrainerService(spec(model, tmp_path))
    trainer.learn(groups(0))
    step = trainer.finish()
    for _ in range(2):
        kill(trainer)
        ray.wait([step.done])
        assert trainer.result_if_done(step) is None
    kill(trainer)
    ray.wait([step.done])
    with pytest.raises(TrainerFailed, match="must not die 3 times"):
        trainer.result_if_done(step)
    trainer.shutdown()


def test_what_the_trainer_refuses_is_the_callers_error(model: Path, tmp_path: Path) -> None:
    trainer = TrainerService(spec(model, tmp_path))
    trainer.learn(groups(0))
    trainer.learn(groups(0))
    with pytest.raises(ValueError, match="a group must arrive whole and once in a step"):
        trainer.result(trainer.finish())
    trainer.shutdown()
