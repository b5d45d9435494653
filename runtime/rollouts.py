"""Rollouts of a task: prompts of a step, generated, scored, and given on group by group as they are complete."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from makespan.runtime.generation_service import GenerationService
from makespan.runtime.reward import PASS, Reward
from makespan.runtime.sample import Prompt, Sample
from makespan.runtime.task import TaskPrompt
from makespan.runtime.training_sample import TrainingSample

STEPS = 1_000_003
"""More than the steps of any run, so that every step of every seed draws its own samples."""


class PromptSource(Protocol):
    """Gives the prompts of every step, and held-out ones that no step gives."""

    def prompts(self, step: int, count: int) -> list[TaskPrompt]:
        """Return the prompts of a training step, a function of the step alone."""
        ...

    def held_out(self, count: int) -> list[TaskPrompt]:
        """Return prompts that are never trained on."""
        ...


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What is generated for one step.

    Parameters
    ----------
    prompts, samples
        Prompts of a step and samples of each.
    cap
        Most new tokens of a sample.
    temperature, seed
        Of the sampling.
    """

    prompts: int = 16
    samples: int = 8
    cap: int = 256
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("prompts", "cap"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.samples < 2:
            raise ValueError(f"samples must be at least 2, for a group has nothing to compare in one, got {self.samples}")


@dataclass(slots=True, eq=False)
class Rollouts:
    """Generates and scores the batches of a task.

    Parameters
    ----------
    service, source, reward, batch
        Where, what, how it is scored, and how much of it.
    tokenizer
        Of the model, with a chat template.
    """

    service: GenerationService
    source: PromptSource
    reward: Reward
    batch: Batch
    tokenizer: Any
    wasted_tokens: int = 0
    failures: list[str] = field(default_factory=list)

    def groups(self, step: int) -> Iterator[list[TrainingSample]]:
        """Generate the batch of `step`, giving each group when its last sample has ended.

        Samples that failed or were aborted by the policy are not trained on; a group of fewer than two is left out, because
        there is nothing to compare it with.
        """
        batch = self.batch
        tasks = self.source.prompts(step, batch.prompts)
        ended: dict[int, list[Sample]] = defaultdict(list)
        for sample in self._generate(tasks, batch.samples, batch.temperature, seed=batch.seed * STEPS + step):
            group = ended[sample.group]
            group.append(sample)
            if len(group) == batch.samples:
                scored = self._scored(step, tasks[sample.group], ended.pop(sample.group))
                if len(scored) > 1:
                    yield scored

    def pass_rate(self, prompts: int, samples: int, *, temperature: float) -> float:
        """Return the share of right answers to held-out prompts."""
        tasks = self.source.held_out(prompts)
        right = sum(
            self.reward(tasks[sample.group], self._text(sample)) >= PASS
            for sample in self._generate(tasks, samples, temperature, seed=1)
            if sample.complete
        )
        return right / (prompts * samples)

    def _generate(self, tasks: Sequence[TaskPrompt], samples: int, temperature: float, *, seed: int) -> Iterator[Sample]:
        prompts = [self._prompt(task.text) for task in tasks]
        yield from self.service.generate(prompts, cap=self.batch.cap, samples=samples, temperature=temperature, seed=seed)

    def _prompt(self, text: str) -> Prompt:
        try:
            chat = [{"role": "user", "content": text}]
            written = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            return Prompt(tuple(self.tokenizer.encode(written, add_special_tokens=False)))
        except (UnicodeError, TypeError, ValueError) as error:
            return Prompt((), refused=f"a prompt must be text that can be encoded: {error}")

    def _scored(self, step: int, task: TaskPrompt, group: Sequence[Sample]) -> list[TrainingSample]:
        scored = []
        for sample in sorted(group, key=lambda s: s.row):
            if not sample.complete:
                self.wasted_tokens += len(sample.tokens)
                if sample.reason:
                    self.failures.append(sample.reason)
                continue
            scored.append(
                TrainingSample(
                    number=step * self.batch.prompts * self.batch.samples + sample.row,
                    group=step * self.batch.prompts + sample.group,
                    prompt_tokens=sample.prompt,
                    output_tokens=sample.tokens,
                    logprobs=sample.logprobs,
                    reward=self.reward(task, self._text(sample)),
                    version=sample.start_version,
                )
            )
        return scored

    def _text(self, sample: Sample) -> str:
        text: str = self.tokenizer.decode(sample.tokens.tolist(), skip_special_tokens=True)
        return text
