"""Weights by NCCL from the trainer's GPU to those of the instances: vLLM's own back end, driven through Ray.

The trainer is rank 0 of a group in which every instance is one more rank. vLLM's sender asks its client for four things, in
this order; each instance holds still from the second to the last, and keeps what it has in flight.
"""

import socket
from collections.abc import Sequence
from importlib import import_module
from time import monotonic
from typing import Any

import ray

BACKEND = "nccl"


class InstanceClient:
    """The instances as vLLM's sender sees them.

    Parameters
    ----------
    actors
        Their actors, which are the ranks from 1 on.
    """

    def __init__(self, actors: Sequence[Any]) -> None:
        self.actors = list(actors)
        self.version = 0

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Have every instance join the group, each as a rank of its own."""
        ray.get([a.transfer.remote("join", init_info | {"rank_offset": 1 + i}) for i, a in enumerate(self.actors)])

    def start_weight_update(self) -> None:
        """Have every instance hold still."""
        self._all("start", {})

    def update_weights(self, update_info: Any) -> None:
        """Have every instance receive while the trainer sends."""
        self._all("receive", update_info)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Have every instance go on under the new version."""
        self._all("finish", {"version": weight_version or str(self.version)})

    def shutdown_weight_transfer_engine(self) -> None:
        """Have every instance leave the group."""
        self._all("leave", {})

    def _all(self, step: str, info: Any) -> None:
        ray.get([actor.transfer.remote(step, info) for actor in self.actors])


class NcclSender:
    """Sends the weights of a module to the instances, and forms the group anew when they are not the same as before.

    Parameters
    ----------
    module
        A torch module on a CUDA device; its weights are sent in bfloat16.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        self._client: InstanceClient | None = None
        self._sender: Any = None

    def send(self, actors: Sequence[Any], version: int) -> float:
        """Send to exactly these instances; returns the seconds that took."""
        began = monotonic()
        if self._client is None or self._client.actors != list(actors):
            self._client = InstanceClient(actors)
            self._sender = self._connect(self._client)
        self._client.version = version
        self._sender.send_weights()
        return monotonic() - began

    def _connect(self, client: InstanceClient) -> Any:
        nccl: Any = import_module("vllm.distributed.weight_transfer.nccl_engine")
        factory: Any = import_module("vllm.distributed.weight_transfer.factory")
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        info = nccl.NCCLTrainerInitInfo(
            master_address=ray.util.get_node_ip_address(),  # type: ignore[no-untyped-call]
            master_port=port,
            world_size=1 + len(client.actors),
            rank=0,
        )
        source = bfloat16_source(self._module)
        return factory.WeightTransferTrainerFactory.trainer_init(info, client=client, source=source)


def bfloat16_source(module: Any) -> Any:
    """Return what vLLM's sender reads a module's weights from: Hugging Face names, bfloat16, tied ones once."""
    import torch

    from makespan.runtime.causal_lm import named_weights

    base: Any = import_module("vllm.distributed.weight_transfer.base")

    class Source(base.WeightSource):  # type: ignore[misc]
        def metadata(self) -> list[Any]:
            return [base.ParamMeta(name, torch.bfloat16, tuple(t.shape)) for name, t in named_weights(module).items()]

        def __iter__(self) -> Any:
            for name, tensor in named_weights(module).items():
                yield name, tensor.detach().to(torch.bfloat16)

    return Source()
