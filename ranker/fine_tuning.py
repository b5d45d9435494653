"""Fine-tuning a small language model to score prompts by the length of their outputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from makespan.ranker.encoders import Progress, by_size, pad
from makespan.ranker.losses import LOSSES
from makespan.schedulers.types import FloatArray

Ids = Sequence[Sequence[int]]
Pooled = Callable[[Tensor, Tensor], Tensor]
_BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is fine-tuned.

    Parameters
    ----------
    loss
        ``ranknet``, ``listmle`` or ``squared``.
    epochs, list_size
        How often each prompt is seen, and how many share a list, which is a batch.
    body_rate, head_rate
        Learning rates of AdamW, reached after a tenth of the steps and falling to 0 linearly.
    seed
        Of the order and the head.
    """

    loss: str = "ranknet"
    epochs: int = 3
    list_size: int = 32
    body_rate: float = 1e-4
    head_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"a loss must be {', '.join(LOSSES)}, got {self.loss!r}")
        if self.epochs < 1 or self.list_size < 2:
            raise ValueError(f"a recipe needs an epoch and lists of 2, got {self.epochs} and {self.list_size}")


class Scorer(nn.Module):
    """A body that gives one vector for each text, and a linear head.

    Parameters
    ----------
    body
        The model that is fine-tuned.
    pooled
        From token numbers and mask, shape (batch, tokens) each, to vectors, shape (batch, width).
    width
        Of the vectors.
    """

    def __init__(self, body: nn.Module, pooled: Pooled, width: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(width, 1)
        self._pooled = pooled

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return one score for each text."""
        scores: Tensor = self.head(self._pooled(ids, mask))[:, 0]
        return scores


def minilm_scorer(model: nn.Module, width: int) -> Scorer:
    """Return MiniLM with the mean of its last states under a head."""
    return Scorer(model, lambda ids, mask: model(ids, mask)[-1], width)


def causal_scorer(model: nn.Module, width: int) -> Scorer:
    """Return a causal model with its last token's state under a head (vllm-ltr's predictor, arXiv 2408.15792)."""

    def last_state(ids: Tensor, mask: Tensor) -> Tensor:
        states = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        chosen: Tensor = states[torch.arange(len(ids)), mask.sum(1) - 1]
        return chosen

    return Scorer(model, last_state, width)


def fine_tune(scorer: Scorer, ids: Ids, target: FloatArray, recipe: Recipe, progress: Progress | None = None) -> Scorer:
    """Train a scorer in place and return it.

    Parameters
    ----------
    scorer
        What is trained.
    ids
        Token numbers of each prompt.
    target
        Log lengths, shape (n,); they are standardised here.
    recipe
        How.
    progress
        Called with the number of steps done and their total.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    standard = torch.tensor((target - target.mean()) / max(float(target.std()), 1e-9), dtype=torch.float32)
    groups = [
        {"params": scorer.body.parameters(), "lr": recipe.body_rate},
        {"params": scorer.head.parameters(), "lr": recipe.head_rate},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    total = recipe.epochs * max(1, len(ids) // recipe.list_size)
    rising = max(1, total // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / rising, (total - step) / max(1, total - rising))
    )
    scorer.train()
    done = 0
    for _ in range(recipe.epochs):
        for batch in np.array_split(rng.permutation(len(ids)), max(1, len(ids) // recipe.list_size)):
            scores = scorer(*pad([ids[row] for row in batch]))
            loss = LOSSES[recipe.loss](scores, standard[batch])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            done += 1
            if progress is not None:
                progress(done, total)
    return scorer.eval()


def scores_of(scorer: Scorer, ids: Ids) -> FloatArray:
    """Return the score of each prompt, shape (n,)."""
    found = np.empty(len(ids))
    with torch.inference_mode():
        for batch in by_size([len(each) for each in ids], _BATCH_TOKENS):
            found[batch] = scorer(*pad([ids[row] for row in batch])).double().numpy()
    return found
