"""Weights on their way from the trainer to the engines: one flat buffer and a table of what lies where."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

ALIGNMENT = 64
"""Bytes to which every tensor is aligned, so that a view of it is as good as a copy."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where one tensor lies: its Hugging Face name, torch dtype by name, shape, and first byte."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int


@dataclass(frozen=True, slots=True, eq=False)
class PackedWeights:
    """All weights of a model in one buffer of bytes, which Ray hands on without copying it."""

    buffer: NDArray[np.uint8]
    tensors: tuple[Placed, ...]


def pack(weights: Mapping[str, "torch.Tensor"]) -> PackedWeights:
    """Copy tensors into one buffer."""
    import torch

    sizes = [-(-t.numel() * t.element_size() // ALIGNMENT) * ALIGNMENT for t in weights.values()]
    starts = list(accumulate(sizes, initial=0))
    buffer = np.zeros(starts[-1], dtype=np.uint8)
    placed = []
    for (name, tensor), start in zip(weights.items(), starts, strict=False):
        flat = tensor.detach().to("cpu").contiguous().flatten().view(torch.uint8).numpy()
        buffer[start : start + len(flat)] = flat
        placed.append(Placed(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), start))
    return PackedWeights(buffer, tuple(placed))


def unpack(buffer: NDArray[np.uint8], tensors: tuple[Placed, ...]) -> Iterator[tuple[str, "torch.Tensor"]]:
    """Give every tensor as a view of `buffer`, which must outlive it."""
    import torch

    whole = torch.from_numpy(buffer)
    for placed in tensors:
        dtype: torch.dtype = getattr(torch, placed.dtype)
        count = int(np.prod(placed.shape, dtype=np.int64)) * dtype.itemsize
        yield placed.name, whole[placed.start : placed.start + count].view(dtype).view(placed.shape)
