"""A small Llama of a chosen shape with random weights, and its Hugging Face folder."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

HEAD_DIM = 64
"""vLLM's attention on the CPU takes few head sizes; this is the smallest common one."""


@dataclass(frozen=True, kw_only=True)
class LlamaShape:
    """The sizes of a small Llama.

    Parameters
    ----------
    layers
        Number of transformer blocks.
    width
        Size of the hidden states; a multiple of `heads`.
    heads
        Query heads of 64 dimensions each.
    kv_heads
        Key and value heads; they divide `heads`.
    inner
        Width of the feed-forward layers.
    context
        Most tokens of a prompt and its output together.
    tied
        Whether input and output embeddings are one matrix.
    spread
        Standard deviation of the random weights.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    inner: int
    context: int = 512
    tied: bool = True
    spread: float = 0.02

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "kv_heads", "inner", "context"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, got {self.width} and {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads must divide heads, got {self.kv_heads} and {self.heads}")
        if not 0 < self.spread < float("inf"):
            raise ValueError(f"spread must be positive and finite, got {self.spread}")


def new_llama(shape: LlamaShape, tokenizer: Any, *, seed: int) -> Any:
    """Give a Llama in float32 whose random weights depend on nothing but the shape, the vocabulary and the seed."""
    import torch

    transformers: Any = import_module("transformers")

    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=HEAD_DIM,
        max_position_embeddings=shape.context,
        initializer_range=shape.spread,
        tie_word_embeddings=shape.tied,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.LlamaForCausalLM(config).float()


def publish_model(model: Any, tokenizer: Any, folder: Path) -> Path:
    """Write model (bfloat16) and tokenizer beside `folder`, then rename: the folder is whole or absent."""
    import torch

    if folder.exists():
        raise FileExistsError(f"a model folder is never overwritten, but {folder} exists")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        model.to(torch.bfloat16).save_pretrained(str(partial))
        tokenizer.save_pretrained(str(partial))
        partial.chmod(0o755)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
