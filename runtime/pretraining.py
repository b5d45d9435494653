"""A small model from scratch, for a convincing reinforcement run on a CPU: it imitates worked sums and is stopped early.

Stopped when it gets about a third of its samples right, it knows the form of a solution and still miscalculates often,
so that reinforcement has something to improve.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from makespan.runtime.demonstrations import solve_chain_sum
from makespan.runtime.number_format import fitting_dtype
from makespan.runtime.reward import PASS, task_reward
from makespan.runtime.small_llama import LlamaShape, new_llama, publish_model
from makespan.runtime.small_tokenizer import train_tokenizer
from makespan.runtime.task import Task, TaskPrompt
from makespan.runtime.torch_sampling import chat_tokens, sample_outputs

TASK = "chain_sum"
SHAPE = LlamaShape(layers=4, width=128, heads=2, kv_heads=2, inner=320)
IGNORED = -100
"""Target of a token that is not to be imitated, as torch has it."""
CAP = 128
"""Most new tokens of a sample when the model is checked; its longest right solution is half as long."""

# Steps of reinforcement count from 0, so these draws are never its prompts.
VOCABULARY_STEP, CHECK_STEP, FIRST_STEP = -1, -2, -3


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How to train the model.

    Parameters
    ----------
    most_terms, most_digits
        Of the sums; the least are 2 terms and 1 digit.
    shape
        Sizes of the model.
    vocabulary
        Most entries of its tokenizer.
    pass_rate
        Share of right samples, at temperature 1, at which it is stopped.
    check_every, check_prompts
        Steps between two checks of that share, and prompts of one.
    most_steps
        Steps after which it should have come that far.
    batch
        Worked sums of one step.
    learning_rate, warmup
        Of AdamW, and the steps in which it rises to that.
    seed
        Of the weights, the sums and the checks.
    """

    most_terms: int = 8
    most_digits: int = 1
    shape: LlamaShape = SHAPE
    vocabulary: int = 320
    pass_rate: float = 0.3
    check_every: int = 50
    check_prompts: int = 128
    most_steps: int = 2000
    batch: int = 32
    learning_rate: float = 3e-3
    warmup: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("most_digits", "check_every", "check_prompts", "most_steps", "batch", "warmup"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.most_terms < 2:
            raise ValueError(f"most_terms must be at least 2, got {self.most_terms}")
        if not 0 <= self.pass_rate < 1:
            raise ValueError(f"pass_rate must be at least 0 and below 1, got {self.pass_rate}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be positive and finite, got {self.learning_rate}")

    @property
    def task(self) -> Task:
        """The task that the model is made for."""
        config = {"min_terms": 2, "max_terms": self.most_terms, "min_digits": 1, "max_digits": self.most_digits}
        return Task(name=TASK, config=config, seed=self.seed)


def pretrain(out: Path, spec: Pretraining, progress: Callable[[int, int], None] | None = None) -> float:
    """Train a model until its pass rate is reached, and publish its folder.

    Parameters
    ----------
    out
        The folder to make; it must not exist.
    spec
        What to train.
    progress
        Called with the numbers of finished and of most steps.

    Returns
    -------
    float
        The pass rate that it was stopped at.

    Raises
    ------
    ValueError
        If `most_steps` do not suffice; nothing is published then.
    """
    if out.exists():
        raise FileExistsError(f"a model folder is never overwritten, but {out} exists")
    task = spec.task
    texts = [prompt.text + solve_chain_sum(prompt.entry) for prompt in task.prompts(VOCABULARY_STEP, 256)]
    tokenizer = train_tokenizer(texts, vocabulary=spec.vocabulary, context=spec.shape.context)
    model = new_llama(spec.shape, tokenizer, seed=spec.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=spec.learning_rate, betas=(0.9, 0.98))
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / spec.warmup, total_iters=spec.warmup - 1)
    reached = 0.0
    for step in range(spec.most_steps):
        loss = imitation_loss(model, tokenizer, task.prompts(FIRST_STEP - step, spec.batch))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        warm.step()
        if progress is not None:
            progress(step + 1, spec.most_steps)
        if (step + 1) % spec.check_every == 0:
            prompts = task.prompts(CHECK_STEP, spec.check_prompts)
            reached = sampled_pass_rate(model, tokenizer, prompts, seed=step)
            if reached >= spec.pass_rate:
                publish_model(model, tokenizer, out)
                return reached
    raise ValueError(
        f"most_steps must suffice for a pass rate of {spec.pass_rate}, got {reached:.3f} after {spec.most_steps}"
    )


def imitation_loss(model: Any, tokenizer: Any, prompts: Sequence[TaskPrompt]) -> Tensor:
    """Give the mean cross-entropy of the tokens of worked solutions, in bfloat16 over float32 weights where that is fast."""
    rows, wanted = [], []
    for prompt in prompts:
        asked = chat_tokens(tokenizer, prompt.text)
        solved = tokenizer.encode(solve_chain_sum(prompt.entry), add_special_tokens=False)
        rows.append(torch.tensor([*asked, *solved]))
        wanted.append(torch.tensor([*(IGNORED for _ in asked[1:]), *solved, tokenizer.eos_token_id]))
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    targets = torch.nn.utils.rnn.pad_sequence(wanted, batch_first=True, padding_value=IGNORED)
    with torch.autocast("cpu", torch.bfloat16, enabled=fitting_dtype() == "bfloat16"):
        logits = model(input_ids=tokens, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def sampled_pass_rate(model: Any, tokenizer: Any, prompts: Sequence[TaskPrompt], *, seed: int, cap: int = CAP) -> float:
    """Sample each prompt once at temperature 1 and give the share of right answers."""
    reward = task_reward(TASK)
    asked = [chat_tokens(tokenizer, prompt.text) for prompt in prompts]
    samples = sample_outputs(model, tokenizer, asked, cap=cap, seed=seed)
    outputs = tokenizer.batch_decode([sample.tokens for sample in samples], skip_special_tokens=True)
    right = [reward(prompt, output) >= PASS for prompt, output in zip(prompts, outputs, strict=True)]
    return sum(right) / len(right)
