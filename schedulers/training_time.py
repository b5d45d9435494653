"""How long a trainer needs: for a micro-batch of sequences, and for the step that ends an iteration."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike

from makespan.schedulers.gpu import Gpu
from makespan.schedulers.layout import Layout, layouts, training_fits
from makespan.schedulers.model_spec import BF16_BYTES, ModelSpec
from makespan.schedulers.roofline import Efficiency
from makespan.schedulers.types import FloatArray


@dataclass(frozen=True, slots=True)
class TrainingTime:
    """A trainer on all its GPUs.

    A micro-batch whose sequences have ``w = token_s * tokens + token_pair_s * tokens**2`` seconds of work each, were it
    spread over all data-parallel ranks, lasts ``micro_batch_s + max(sum(w), ranks * max(w))``: a sequence is not split.

    Parameters
    ----------
    token_s
        Seconds per token, positive.
    token_pair_s
        Seconds per squared token of one sequence (attention), not negative.
    micro_batch_s
        Seconds that every micro-batch takes besides, not negative.
    step_s
        Seconds of the optimiser step with its communication, once per iteration, not negative.
    ranks
        Data-parallel ranks, at least 1.
    micro_batch_tokens
        Tokens that fill all ranks, at least 1.
    """

    token_s: float
    token_pair_s: float = 0.0
    micro_batch_s: float = 0.0
    step_s: float = 0.0
    ranks: int = 1
    micro_batch_tokens: int = 16_384

    def __post_init__(self) -> None:
        if not (isfinite(self.token_s) and self.token_s > 0):
            raise ValueError(f"token_s must be positive and finite, got {self.token_s}")
        for name in ("token_pair_s", "micro_batch_s", "step_s"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {value}")
        for name in ("ranks", "micro_batch_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def work(self, tokens: ArrayLike) -> FloatArray:
        """Return seconds of work of sequences of `tokens`, spread over all ranks."""
        lengths = np.asarray(tokens, dtype=np.float64)
        seconds: FloatArray = self.token_s * lengths + self.token_pair_s * lengths**2
        return seconds

    def micro_batch(self, work: FloatArray) -> float:
        """Return seconds of one micro-batch of sequences with so much `work`, at least one."""
        return self.micro_batch_s + max(float(work.sum()), self.ranks * float(work.max()))


@dataclass(frozen=True, slots=True)
class Passes:
    """What an algorithm computes on every sample.

    Parameters
    ----------
    trained
        Models trained on it, at least 1 (forward and backward, 6 FLOP per parameter and token).
    forward
        Further forward passes (2 FLOP per parameter and token).
    """

    trained: int
    forward: int

    def __post_init__(self) -> None:
        if self.trained < 1 or self.forward < 0:
            raise ValueError(f"an algorithm must train at least one model, got {self.trained} and {self.forward} passes")


PPO = Passes(trained=2, forward=3)
"""Actor and critic; reference, old log-probabilities and values."""
GRPO = Passes(trained=1, forward=2)
"""Actor; reference and old log-probabilities."""


def passes_of(algorithm: str) -> Passes:
    """Return the passes of ``ppo`` or ``grpo``."""
    known = {"ppo": PPO, "grpo": GRPO}
    if algorithm not in known:
        raise ValueError(f"an algorithm must be ppo or grpo, got {algorithm!r}")
    return known[algorithm]


def training_time(
    model: ModelSpec,
    gpu: Gpu,
    layout: Layout,
    efficiency: Efficiency,
    passes: Passes = PPO,
    rank_tokens: int = 32_768,
) -> TrainingTime:
    """Return the time model of training on `layout`, from specifications.

    Tensor ranks exchange activations within the machine, four times per layer forward and eight times in training
    (sequence parallelism, Korthikanti et al., MLSys 2023, with layers computed again); data ranks exchange gradients and
    weights once per step; pipeline ranks fill and drain once per step.

    Parameters
    ----------
    model, gpu, layout, efficiency, passes
        What is trained, on what, how, how well, and what the algorithm computes.
    rank_tokens
        Tokens that fill one data-parallel rank.
    """
    per_token = 6 * passes.trained + 2 * passes.forward
    flops = layout.gpus * gpu.flops * efficiency.training_flops
    ranks = layout.tensor
    exchanged = BF16_BYTES * model.hidden_size * model.layers * (ranks - 1) / ranks
    exchange_s = exchanged * (8 * passes.trained + 4 * passes.forward) / (gpu.nvlink_gb_s * 1e9 / 2)
    token_s = per_token * model.computing / flops + exchange_s / layout.data / layout.pipeline
    pair_s = per_token / 2 * model.attention_flops(1) / flops
    synced = 2 * BF16_BYTES * model.parameters * passes.trained / layout.unit * (layout.data - 1) / layout.data
    fill_s = (layout.pipeline - 1) * rank_tokens * layout.data * token_s / layout.pipeline
    return TrainingTime(
        token_s=token_s,
        token_pair_s=pair_s,
        micro_batch_s=model.layers * efficiency.layer_s * (3 * passes.trained + passes.forward),
        step_s=synced / (efficiency.network_gb_s * 1e9) + fill_s,
        ranks=layout.data,
        micro_batch_tokens=rank_tokens * layout.data,
    )


def training_layouts(model: ModelSpec, gpu: Gpu, gpus: int, rank_tokens: int = 32_768) -> list[Layout]:
    """Return the layouts of training that fit memory, on at most `gpus`.

    Raises
    ------
    ValueError
        When none fits.
    """
    found = [layout for layout in layouts(model, gpu, gpus) if training_fits(model, gpu, layout, rank_tokens)]
    if not found:
        raise ValueError(f"training {model.name} must fit the memory of {gpus} x {gpu.name} in some layout, got none")
    return found
