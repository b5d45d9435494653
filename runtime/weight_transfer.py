"""A weight-transfer back end for vLLM: new weights arrive in memory that the engine's parent shares with it.

vLLM's own back ends move weights between CUDA devices. This one needs none: the parent process, which got the weights from
Ray's object store, copies them into anonymous memory (`memfd`), and the engine maps that through ``/proc``. Such memory has
no name that could be left behind, however its owner dies.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from makespan.runtime.weights import PackedWeights, Placed, unpack

BACKEND = "makespan_shared_memory"


@dataclass
class NoInit(WeightTransferInitInfo):
    """There is nothing to agree on beforehand."""


@dataclass
class SharedBuffer(WeightTransferUpdateInfo):
    """Where the buffer can be mapped, and name, dtype, shape and first byte of every tensor."""

    path: str
    tensors: list[tuple[str, str, list[int], int]]


class SharedMemoryTransfer(WeightTransferEngine[NoInit, SharedBuffer]):
    """Loads weights in checkpoint format from memory that another process of this machine shares."""

    init_info_cls = NoInit
    update_info_cls = SharedBuffer

    def init_transfer_engine(self, init_info: NoInit) -> None:
        """Do nothing: every update says where it lies."""

    def start_weight_update(self) -> None:
        """Prepare every layer for weights in checkpoint format; on the CPU they are packed anew when complete."""
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load all tensors. There is no device to wait for, as the base class would."""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: SharedBuffer) -> None:
        """Load all tensors of the buffer, and insist that the model takes every one of its own parameters from it."""
        buffer = np.memmap(update_info.path, dtype=np.uint8, mode="c")
        tensors = tuple(Placed(name, dtype, tuple(shape), start) for name, dtype, shape, start in update_info.tensors)
        model: Any = self.model
        expected = {name for name, _ in model.named_parameters()}
        loaded = model.load_weights((name, tensor.to(self.device)) for name, tensor in unpack(buffer, tensors))
        missing = sorted(expected - set(loaded))
        if missing:
            raise ValueError(f"an update must bring every parameter of the model, got none for {missing[0]}")

    def finish_weight_update(self) -> None:
        """Finish the layers."""
        finish: Any = finalize_layerwise_reload
        finish(self.model, self.model_config)

    def shutdown(self) -> None:
        """Do nothing: nothing is held between updates."""


@contextmanager
def shared(weights: PackedWeights) -> Iterator[dict[str, Any]]:
    """Share `weights` with other processes of this machine as long as the block lasts; gives the update's info."""
    descriptor = os.memfd_create("makespan-weights")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            weights.buffer.tofile(file)
        yield {
            "path": f"/proc/{os.getpid()}/fd/{descriptor}",
            "tensors": [(t.name, t.dtype, list(t.shape), t.start) for t in weights.tensors],
        }
    finally:
        os.close(descriptor)


def register() -> None:
    """Make the back end known to vLLM in this process."""
    if BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(BACKEND, SharedMemoryTransfer)
