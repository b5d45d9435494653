"""What can be told about a model folder before an engine is started on it."""

import json
from pathlib import Path
from typing import Any

import psutil

from makespan.runtime.number_format import fitting_dtype

GIB = 1024**3
LONGEST = 8192
"""Tokens of one request that are enough for anything here."""
PROMPT = 32
"""Tokens that the shortest prompt with its chat template takes."""


def longest_request(model: Path, *, cap: int, kv_gib: float, instances: int = 1) -> int:
    """Return the most tokens of one request that an engine on this model is to take.

    Raises
    ------
    FileNotFoundError
        If there is no model.
    ValueError
        If the model's context, the KV cache or the memory of the machine are too small; the message names the option.
    """
    config = read_config(model)
    if not 0 < kv_gib * instances < psutil.virtual_memory().available / GIB:
        available = psutil.virtual_memory().available / GIB
        raise ValueError(
            f"--kv-gib must be positive and fit the memory of the machine, {available:.1f} GiB for {instances} instances, "
            f"got {kv_gib:g}"
        )
    context = context_of(config)
    if cap + PROMPT > context:
        raise ValueError(f"--cap must leave room for a prompt in the model's context of {context} tokens, got {cap}")
    # Imported here: what is refused above is refused without it.
    import torch

    fits = int(kv_gib * GIB / kv_bytes_per_token(config, getattr(torch, fitting_dtype()).itemsize))
    if cap + PROMPT > fits:
        raise ValueError(
            f"--kv-gib must hold a request of --cap {cap} tokens and its prompt, got {kv_gib:g} for {fits} tokens"
        )
    return min(context, fits, LONGEST)


def read_config(model: Path) -> dict[str, Any]:
    """Return the configuration of a Hugging Face model folder."""
    file = model / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"--model must be a Hugging Face folder with a config.json, got {model}")
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"--model must have a config.json that is JSON, got {model}: {error}") from None
    if not config.get("architectures"):
        raise ValueError(f"--model must name its architecture in config.json, got none in {model}")
    return config


def context_of(config: dict[str, Any]) -> int:
    """Return the most tokens of a request, by the configuration of a model; `LONGEST` where that is silent."""
    return int(config.get("max_position_embeddings", LONGEST))


def kv_bytes_per_token(config: dict[str, Any], number_bytes: int) -> int:
    """Return the bytes of keys and values of one token over all layers."""
    heads = int(config.get("num_attention_heads", 1))
    width = int(config.get("head_dim") or int(config.get("hidden_size", heads)) // heads)
    kv_heads = int(config.get("num_key_value_heads") or heads)
    return 2 * number_bytes * int(config.get("num_hidden_layers", 1)) * kv_heads * width
