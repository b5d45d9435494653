"""The five pipelines over real actors and a real trainer; engines are scripted, so all train on the same samples."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from stage_of_actors import scripted_pool, service
from tiny_model import make_tiny_model
from transformers import AutoTokenizer

from makespan.runtime.grpo import Grpo
from makespan.runtime.instance_pool import InstancePool
from makespan.runtime.iteration import Iteration
from makespan.runtime.ray_session import ray_session
from makespan.runtime.real_pipelines import PIPELINES, STALENESS
from makespan.runtime.reward import Reward, RewardError
from makespan.runtime.rollouts import Batch, Rollouts
from makespan.runtime.task import TaskPrompt
from makespan.runtime.trainer_actor import TrainerSpec
from makespan.runtime.trainer_service import TrainerService
from makespan.runtime.training_loop import TooStale, TrainingLoop

STEPS = 4
BATCH = Batch(prompts=4, samples=3, cap=40)


class Numbers:
    """Prompts that differ from step to step."""

    def prompts(self, step: int, count: int) -> list[TaskPrompt]:
        return [TaskPrompt(f"{step} + {k} =", {}) for k in range(count)]

    def held_out(self, count: int) -> list[TaskPrompt]:
        return [TaskPrompt(f"{k} - 1 =", {}) for k in range(count)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with ray_session(cores=6):
        yield make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def pool(model: Path) -> Iterator[InstancePool]:
    with scripted_pool(2) as started:
        yield started


def loop(name: str, pool: InstancePool, model: Path, folder: Path, reward: Any = None) -> TrainingLoop:
    """Give the loop of a pipeline, about to begin."""
    scored = Reward(reward or (lambda prompt, output, row: float(len(output) % 5)), "--reward here")
    tokenizer: Any = AutoTokenizer.from_pretrained(str(model))
    rollouts = Rollouts(service(pool), Numbers(), scored, BATCH, tokenizer)
    spec = TrainerSpec(
        model=model, grpo=Grpo(learning_rate=1e-3, micro_batch_tokens=256), checkpoints=folder / "checkpoints"
    )
    trainer = TrainerService(spec)
    return TrainingLoop(name, STALENESS[name], rollouts, trainer, range(trainer.version, STEPS), mini_batch=2)


def final_weights(trainer: TrainerService) -> Any:
    """Return the weights as 32-bit numbers."""
    packed = ray.get(trainer.weights())
    return np.frombuffer(packed.buffer.tobytes(), dtype=np.uint16).astype(np.uint32) << 16


def as_floats(bits: Any) -> Any:
    """Return bfloat16 patterns as numbers."""
    return bits.astype(np.uint32).view(np.float32)


REFERENCE: dict[str, Any] = {}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_trains_on_every_sample_once_and_within_its_bound(
    name: str, pool: InstancePool, model: Path, tmp_path: Path
) -> None:
    running = loop(name, pool, model, tmp_path)
    iterations = list(PIPELINES[name](running))
    check(name, iterations)
    assert sorted(running.reports) == list(range(STEPS))
    weights = as_floats(final_weights(running.trainer))
    # The engines' tokens do not depend on weights: only the order of rounding differs between pipelines.
    expected = REFERENCE.setdefault("weights", weights)
    assert np.abs(weights - expected).max() < 0.02
    running.trainer.shutdown()


def check(name: str, iterations: list[Iteration]) -> None:
    """Require what every pipeline must keep."""
    assert [iteration.iteration for iteration in iterations] == list(range(STEPS))
    for iteration in iterations:
        assert iteration.pipeline == name
        assert iteration.samples == BATCH.prompts * BATCH.samples
        assert len(iteration.staleness) == STALENESS[name] + 1
        assert iteration.generation_bubble + iteration.generation_busy_share <= 2
    if name == "one_step_async":
        assert all(iteration.staleness[1] == iteration.samples for iteration in iterations[1:])


@pytest.mark.parametrize(("name", "victim"), [("fully_async", "trainer"), ("fully_async", "instance"), ("stream", "both")])
def test_a_run_survives_deaths_in_the_middle(
    name: str, victim: str, pool: InstancePool, model: Path, tmp_path: Path
) -> None:
    running = loop(name, pool, model, tmp_path)
    iterations = []
    for iteration in PIPELINES[name](running):
        iterations.append(iteration)
        if len(iterations) == 2:
            if victim != "instance":
                os.kill(running.trainer.process, signal.SIGKILL)
            if victim != "trainer":
                os.kill(pool.process(0), signal.SIGKILL)
    check(name, iterations)
    assert running.trainer.replaced == (victim != "instance")
    running.trainer.shutdown()


def test_a_run_is_gone_on_with_where_it_was(pool: InstancePool, model: Path, tmp_path: Path) -> None:
    first = loop("stream", pool, model, tmp_path)
    first.steps = range(2)
    assert len(list(PIPELINES["stream"](first))) == 2
    first.trainer.shutdown()
    second = loop("stream", pool, model, tmp_path)
    assert second.steps == range(2, STEPS)
    second.generation.service.update(second.trainer.weights(), 2)
    assert [iteration.iteration for iteration in PIPELINES["stream"](second)] == [2, 3]
    second.trainer.shutdown()


def test_a_sample_that_is_too_old_is_refused(pool: InstancePool, model: Path, tmp_path: Path) -> None:
    running = loop("stream", pool, model, tmp_path)
    group = next(running.rollouts(0))
    with pytest.raises(TooStale, match="stream must train on samples at most 0 versions old, got 1"):
        running.learn([group], 1)
    running.trainer.shutdown()


def test_a_reward_that_is_not_a_number_ends_the_run_in_one_line(pool: InstancePool, model: Path, tmp_path: Path) -> None:
    running = loop("stream", pool, model, tmp_path, reward=lambda prompt, output, row: float("nan"))
    with pytest.raises(RewardError, match="the reward function of --reward here must give a finite number, got nan"):
        list(PIPELINES["stream"](running))
    running.trainer.shutdown()


def test_a_step_of_which_nothing_is_left_names_a_reason(pool: InstancePool, model: Path, tmp_path: Path) -> None:
    running = loop("colocated", pool, model, tmp_path)
    running.generation.tokenizer = None
    with pytest.raises(ValueError, match="a step must have a complete group to train on, got none in step 0"):
        list(PIPELINES["colocated"](running))
    running.trainer.shutdown()
