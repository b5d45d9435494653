"""What must be known of a model beside the times of its layers: how many there are, and the sizes of what they hand on."""

from dataclasses import dataclass

from makespan.schedulers.registry import unknown_name

BYTES = 2
"""Of a number in bfloat16."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a transformer, as its published configuration gives them.

    Parameters
    ----------
    layers, hidden, vocabulary
        Number of layers, width of the hidden state, size of the vocabulary.
    parameters
        Of the whole model.
    kv_heads, head_size
        Of the KV cache.
    experts, experts_per_token
        0 for a model without experts.
    """

    layers: int
    hidden: int
    vocabulary: int
    parameters: float
    kv_heads: int
    head_size: int
    experts: int = 0
    experts_per_token: int = 0

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of KV that one token takes, keys and values of all layers."""
        return 2 * self.layers * self.kv_heads * self.head_size * BYTES

    def kv_capacity_tokens(self, memory_bytes: float, utilization: float = 0.9) -> int:
        """Return the tokens of KV beside the weights, in whole blocks of 16: arithmetic, not a measurement."""
        free = utilization * memory_bytes - self.parameters * BYTES
        return int(free / self.kv_bytes_per_token) // 16 * 16


ARCHITECTURES = {
    "meta-llama/Llama-3.1-8B": Architecture(32, 4096, 128_256, 8.03e9, 8, 128),
    "Qwen/Qwen3-32B": Architecture(64, 5120, 151_936, 32.8e9, 8, 128),
    "Qwen/Qwen3-30B-A3B-Instruct-2507": Architecture(48, 2048, 151_936, 30.5e9, 4, 128, experts=128, experts_per_token=8),
}


def architecture_of(model: str) -> Architecture:
    """Return the sizes of a model by its name, ``organisation/name``."""
    if model not in ARCHITECTURES:
        raise unknown_name("model", model, sorted(ARCHITECTURES))
    return ARCHITECTURES[model]
