"""Sampling with torch alone: no engine, for small models and for checks of the engines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from makespan.schedulers.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class TorchSample:
    """One output: its tokens, the end token included where it came to it, and their log-probabilities."""

    tokens: IntArray
    logprobs: FloatArray


def chat_tokens(tokenizer: Any, prompt: str) -> list[int]:
    """Give the tokens of one user message under the chat template, up to where the assistant begins."""
    messages = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    tokens: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return tokens


def sample_outputs(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], *, cap: int, seed: int, temperature: float = 1.0
) -> list[TorchSample]:
    """Sample one output of each prompt in one batch.

    Parameters
    ----------
    model, tokenizer
        Of Hugging Face.
    prompts
        Token ids of each prompt.
    cap
        Most new tokens.
    seed
        Of the sampling; torch's own generator is left as it was.
    temperature
        Sampling temperature, which the log-probabilities include.
    """
    longest = max(len(prompt) for prompt in prompts)
    tokens = torch.full((len(prompts), longest), tokenizer.pad_token_id)
    mask = torch.zeros_like(tokens)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        made = model.generate(
            input_ids=tokens.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=cap,
            do_sample=True,
            temperature=temperature,
            top_k=0,
            top_p=1.0,
            output_logits=True,
            return_dict_in_generate=True,
        )
    outputs = made.sequences[:, longest:].cpu()
    scaled = torch.stack(made.logits, dim=1).float().cpu() / temperature
    logprobs = scaled.log_softmax(dim=-1).gather(2, outputs[:, :, None])[:, :, 0].double()
    samples = []
    for row, logprob in zip(outputs, logprobs, strict=True):
        ends = (row == tokenizer.eos_token_id).nonzero()
        length = int(ends[0]) + 1 if len(ends) else len(row)
        samples.append(TorchSample(row[:length].numpy(), logprob[:length].numpy()))
    return samples
