"""A language model that writes the length as a number: StreamRL's ranker re-implemented (arXiv 2504.15930).

Supervised fine-tuning on pairs of prompt and length; the length is written as five digits, each a token, so that what is
generated is always a number and its likelihood is that of five tokens.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from makespan.ranker.encoders import Progress, by_size, pad
from makespan.ranker.fine_tuning import Ids, Recipe
from makespan.schedulers.types import FloatArray, IntArray

DIGITS = 5
_BATCH_TOKENS = 2048


def written(tokens: IntArray, digit_ids: Sequence[int]) -> IntArray:
    """Return lengths as digits, each by the number of its token; what has more than five is 99,999. Shape (n, 5)."""
    cut = np.minimum(tokens, 10**DIGITS - 1)
    places = cut[:, None] // 10 ** np.arange(DIGITS - 1, -1, -1)[None, :] % 10
    found: IntArray = np.array(digit_ids)[places]
    return found


def fine_tune_to_write(
    model: Any,
    ids: Ids,
    tokens: IntArray,
    digit_ids: Sequence[int],
    recipe: Recipe,
    progress: Progress | None = None,
) -> None:
    """Train a causal language model in place to continue each prompt with its length; the loss is on the digits alone.

    Parameters
    ----------
    model
        Anything that maps ``input_ids`` and ``attention_mask`` to ``logits``, such as a Hugging Face causal model.
    ids
        Token numbers of each prompt.
    tokens
        Output tokens of each prompt, shape (n,).
    digit_ids
        The tokens of 0 to 9.
    recipe
        Epochs, batch, rate and seed; its loss does not matter here.
    progress
        Called with the number of steps done and their total.
    """
    rng = np.random.default_rng(recipe.seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.body_rate, weight_decay=0.01)
    target = written(tokens, digit_ids)
    batches = max(1, len(ids) // recipe.list_size)
    model.train()
    done = 0
    for _ in range(recipe.epochs):
        for batch in np.array_split(rng.permutation(len(ids)), batches):
            texts, mask = pad([[*ids[row], *target[row]] for row in batch])
            logits = model(input_ids=texts, attention_mask=mask.long()).logits
            ends = mask.sum(1)[:, None] - DIGITS + torch.arange(DIGITS)[None, :]
            rows = torch.arange(len(batch))[:, None]
            loss = functional.cross_entropy(logits[rows, ends - 1].flatten(0, 1), texts[rows, ends].flatten())
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            done += 1
            if progress is not None:
                progress(done, recipe.epochs * batches)
    model.eval()


def read_lengths_off(model: Any, ids: Ids, digit_ids: Sequence[int]) -> FloatArray:
    """Return the length that the model writes after each prompt, digit by digit, the last one as its expectation.

    Shape (n,).
    """
    digits = torch.tensor(list(digit_ids))
    found = np.zeros(len(ids))
    with torch.inference_mode():
        for batch in by_size([len(each) for each in ids], _BATCH_TOKENS):
            texts = [list(ids[row]) for row in batch]
            for place in range(DIGITS):
                padded, mask = pad(texts)
                logits = model(input_ids=padded, attention_mask=mask.long()).logits
                chance = logits[torch.arange(len(batch)), mask.sum(1) - 1][:, digits].softmax(-1)
                likely = chance.argmax(-1)
                expected = (chance * torch.arange(10)).sum(-1)
                value = expected if place == DIGITS - 1 else likely
                found[batch] += value.double().numpy() * 10 ** (DIGITS - 1 - place)
                for text, digit in zip(texts, likely.tolist(), strict=True):
                    text.append(digit_ids[digit])
    return found
