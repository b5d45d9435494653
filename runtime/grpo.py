"""Group relative policy optimisation: hyper-parameters, advantages and the loss of each token.

Shao et al., DeepSeekMath (arXiv 2402.03300), section 4.1: a critic is replaced by the mean reward of the samples of one
prompt. The two clipping bounds may differ (Yu et al., DAPO, arXiv 2503.14476, equation 10).
"""

from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from makespan.schedulers.types import FloatArray

LOG_RATIO_LIMIT = 20.0
"""Beyond it a ratio is as good as infinite, and its exponential would turn gradients into NaN."""

STD_FLOOR = 1e-6


@dataclass(frozen=True, kw_only=True)
class Grpo:
    """Hyper-parameters of the trainer.

    Parameters
    ----------
    learning_rate
        Of AdamW.
    clip_low, clip_high
        The probability ratio earns nothing outside ``[1 - clip_low, 1 + clip_high]``.
    kl_coefficient
        Weight of the divergence from the initial weights; 0 keeps no copy of them.
    normalise_by_std
        Whether advantages are divided by the standard deviation of their group.
    aggregation
        ``token``: the mean over all tokens of the step; ``sequence``: the mean over samples of their means.
    temperature
        Sampling temperature under which the behaviour log-probabilities were computed.
    max_grad_norm
        Longer gradients are shortened to it.
    weight_decay
        Of AdamW.
    micro_batch_tokens
        Most tokens, padding included, of one forward and backward pass; a longer sample makes its own.
    """

    learning_rate: float = 1e-5
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_coefficient: float = 0.0
    normalise_by_std: bool = True
    aggregation: Literal["token", "sequence"] = "token"
    temperature: float = 1.0
    max_grad_norm: float = 1.0
    weight_decay: float = 0.0
    micro_batch_tokens: int = 4096

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip_high", "temperature", "max_grad_norm"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        for name in ("kl_coefficient", "weight_decay"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if not 0 < self.clip_low < 1:
            raise ValueError(f"clip_low must lie between 0 and 1, got {self.clip_low}")
        if self.aggregation not in ("token", "sequence"):
            raise ValueError(f"aggregation must be token or sequence, got {self.aggregation!r}")
        if self.micro_batch_tokens < 1:
            raise ValueError(f"micro_batch_tokens must be at least 1, got {self.micro_batch_tokens}")

    def advantages(self, rewards: FloatArray) -> FloatArray:
        """Return rewards minus their mean, over their (population) standard deviation.

        Equal rewards give exact zeros, whatever the rounding of their mean.
        """
        if np.ptp(rewards) == 0:
            return np.zeros(len(rewards))
        centred: FloatArray = rewards - rewards.mean()
        return centred / (rewards.std() + STD_FLOOR) if self.normalise_by_std else centred


class TokenTerms(NamedTuple):
    """What each token adds to the loss and to the figures of a step; only `loss` carries gradients."""

    loss: Tensor
    ratio: Tensor
    clipped: Tensor
    behaviour_kl: Tensor
    reference_kl: Tensor | None


def token_terms(
    grpo: Grpo, *, new: Tensor, behaviour: Tensor, advantages: Tensor, reference: Tensor | None = None
) -> TokenTerms:
    """Give the clipped surrogate loss of each token (DeepSeekMath, equation 3), plus the KL penalty if asked.

    Parameters
    ----------
    grpo
        Clipping bounds and the weight of the penalty.
    new
        Log-probability of each token under the weights that learn.
    behaviour
        Under the weights that generated it.
    advantages
        Advantage of each token's sample.
    reference
        Log-probability of each token under the initial weights, or None where `kl_coefficient` is 0.
    """
    log_ratio = (new - behaviour).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    ratio = log_ratio.exp()
    free = ratio * advantages
    held = ratio.clamp(1 - grpo.clip_low, 1 + grpo.clip_high) * advantages
    loss = -torch.minimum(free, held)
    reference_kl = None
    if reference is not None:
        penalty = k3(reference - new)
        loss = loss + grpo.kl_coefficient * penalty
        reference_kl = penalty.detach()
    return TokenTerms(loss, ratio.detach(), (held < free).detach(), k3(log_ratio).detach(), reference_kl)


def k3(log_ratio: Tensor) -> Tensor:
    """Estimate KL(p || q) from ``log(q/p)`` of samples of p: unbiased, never negative.

    Schulman, Approximating KL Divergence (2020), the estimator k3; equation 4 of DeepSeekMath.
    """
    log_ratio = log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    return log_ratio.expm1() - log_ratio
