"""How a model is laid out over GPUs: tensor, pipeline and data parallelism."""

from collections.abc import Iterator
from dataclasses import dataclass

from makespan.schedulers.gpu import Gpu
from makespan.schedulers.model_spec import ModelSpec

USABLE_MEMORY = 0.9
"""Share of a GPU's memory that weights, states, KV and activations may take (vLLM's default)."""


@dataclass(frozen=True, slots=True, order=True)
class Layout:
    """Degrees of tensor, pipeline and data parallelism, each at least 1."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1

    def __post_init__(self) -> None:
        if min(self.tensor, self.pipeline, self.data) < 1:
            raise ValueError(f"degrees of parallelism must be at least 1, got {self}")

    @property
    def unit(self) -> int:
        """GPUs of one data-parallel unit."""
        return self.tensor * self.pipeline

    @property
    def gpus(self) -> int:
        """GPUs in all."""
        return self.unit * self.data

    def __str__(self) -> str:
        degrees = (("TP", self.tensor), ("PP", self.pipeline), ("DP", self.data))
        return " ".join(f"{name}{degree}" for name, degree in degrees if degree > 1) or "TP1"


def layouts(model: ModelSpec, gpu: Gpu, gpus: int) -> Iterator[Layout]:
    """Yield every layout of `model` on at most `gpus`: powers of two, tensor parallelism within a machine.

    The data-parallel degree is the largest that fits; what is left over idles.
    """
    tensor = 1
    while tensor <= gpu.gpus_per_machine and model.query_heads % tensor == 0:
        pipeline = 1
        while tensor * pipeline <= gpus and pipeline <= model.layers:
            yield Layout(tensor, pipeline, gpus // (tensor * pipeline))
            pipeline *= 2
        tensor *= 2


def kv_capacity(model: ModelSpec, gpu: Gpu, layout: Layout) -> int:
    """Return tokens of KV that one generation instance can hold; negative where the weights alone do not fit.

    KV heads are split over tensor-parallel ranks as far as there are any and repeated beyond.
    """
    room = USABLE_MEMORY * gpu.memory_bytes * layout.unit - model.weight_bytes
    copies = max(1, layout.tensor // model.kv_heads)
    return int(room // (model.kv_bytes_per_token * copies))


def training_fits(model: ModelSpec, gpu: Gpu, layout: Layout, micro_batch_tokens: int) -> bool:
    """Return whether one model's training state fits a GPU: BF16 weights and gradients, Adam in FP32, activations.

    Weights and gradients are split over tensor and pipeline ranks, the optimiser (12 bytes per parameter) over data ranks as
    well (ZeRO-1). Other models of the algorithm are offloaded while one is trained (StreamRL, section 9: dynamic CPU
    offloading). Activations: the input of each layer is kept and the rest computed again; one layer's inside takes 34 bytes
    per token and hidden unit (Korthikanti et al., MLSys 2023).
    """
    states = model.parameters / layout.unit * (2 * 2 + 12 / layout.data)
    kept = 2 * model.hidden_size * model.layers * micro_batch_tokens / layout.tensor
    inside = 34 * model.hidden_size * micro_batch_tokens / layout.tensor
    return states + kept + inside <= USABLE_MEMORY * gpu.memory_bytes
