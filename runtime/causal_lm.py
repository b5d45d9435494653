"""A causal language model of Hugging Face: its folder, its weights by name, its log-probabilities."""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from makespan.runtime.training_sample import TrainingSample


def load_causal_lm(folder: Path, *, device: torch.device, dtype: torch.dtype) -> Any:
    """Load a model from safetensors, without remote code, in evaluation mode.

    Dropout stays off: the ratio to the behaviour policy must be that of the weights alone.
    """
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"a model must be a Hugging Face folder with a config.json, got {folder}")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    transformers: Any = import_module("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(folder), dtype=dtype, use_safetensors=True, trust_remote_code=False
    )
    return model.to(device).eval()


def named_weights(model: Any) -> dict[str, Tensor]:
    """Give the tensors under the names that `save_pretrained` would write, tied ones once."""
    tied: Any = import_module("transformers.modeling_utils")
    loading: Any = import_module("transformers.core_model_loading")
    unique = tied.remove_tied_weights_from_state_dict(model.state_dict(), model)
    weights: dict[str, Tensor] = loading.revert_weight_conversion(model, unique)
    return weights


def output_logprobs(model: Any, samples: Sequence[TrainingSample], *, temperature: float) -> Tensor:
    """Give the log-probability of every output token, sample after sample, as one tensor.

    Rows are padded on the right: under causal attention no token sees what comes after it, so padding needs no mask.
    Logits are computed from the shortest prompt's end on and kept for output tokens only; the whole vocabulary for
    every position would be most of the memory.
    """
    device = model.device
    longest = max(sample.tokens for sample in samples)
    tokens = torch.zeros(len(samples), longest, dtype=torch.long)
    first = min(len(sample.prompt_tokens) for sample in samples) - 1
    rows, columns = [], []
    for row, sample in enumerate(samples):
        prompt = len(sample.prompt_tokens)
        tokens[row, :prompt] = torch.tensor(sample.prompt_tokens)
        tokens[row, prompt : sample.tokens] = torch.tensor(sample.output_tokens)
        # The logits that predict a token are those of the token before it.
        columns.append(torch.arange(prompt - 1, sample.tokens - 1))
        rows.append(torch.full((len(sample.output_tokens),), row))
    where, column = torch.cat(rows), torch.cat(columns)
    targets = tokens[where, column + 1].to(device)
    keep = torch.arange(first, longest - 1, device=device)
    logits = model(input_ids=tokens.to(device), use_cache=False, logits_to_keep=keep).logits
    chosen: Tensor = logits[where.to(device), (column - first).to(device)]
    scaled = chosen.to(torch.promote_types(chosen.dtype, torch.float32)) / temperature
    return scaled.gather(1, targets[:, None])[:, 0] - scaled.logsumexp(dim=1)
