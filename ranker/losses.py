"""Losses that train scores to order lengths; each takes the scores and the lengths of one list."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


def ranknet(score: Tensor, length: Tensor) -> Tensor:
    """Return the logistic loss over all pairs of unequal length (RankNet: Burges et al., ICML 2005)."""
    longer = length[:, None] > length[None, :]
    if not longer.any():
        return score.sum() * 0
    gaps = score[:, None] - score[None, :]
    return functional.softplus(-gaps[longer]).mean()


def listmle(score: Tensor, length: Tensor) -> Tensor:
    """Return minus the log likelihood of the true order, longest first (ListMLE: Xia et al., ICML 2008), per element.

    This is the loss of vllm-ltr (arXiv 2408.15792), where the list is a batch.
    """
    ordered = score[torch.argsort(length, descending=True, stable=True)]
    beyond = torch.logcumsumexp(ordered.flip(0), dim=0).flip(0)
    return (beyond - ordered).mean()


def squared(score: Tensor, length: Tensor) -> Tensor:
    """Return the mean squared error; lengths must be standardised logs."""
    return functional.mse_loss(score, length)


LOSSES: dict[str, Loss] = {"ranknet": ranknet, "listmle": listmle, "squared": squared}
