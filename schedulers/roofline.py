"""Time models from specifications: what a step of generation and a pass of training take on some hardware.

They are arithmetic on data sheets with a few efficiencies. Two of these come from measurements that have nothing to do
with RL training (see `Efficiency`), the others are assumptions and named as such. Measure, where you can.
"""

from dataclasses import dataclass, fields
from math import isfinite

from makespan.schedulers.gpu import Gpu
from makespan.schedulers.instances import Instance
from makespan.schedulers.layout import Layout, kv_capacity
from makespan.schedulers.model_spec import BF16_BYTES, ModelSpec
from makespan.schedulers.step_time import StepTime

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True, slots=True)
class Efficiency:
    """How much of the data sheet is reached.

    Parameters
    ----------
    bandwidth
        Share of the memory bandwidth that reading weights and KV reaches. 0.82: the KV coefficients of two vLLM profiles
        that ship here, Llama-3.1-8B on one and Qwen3-32B on two RTX PRO 6000, give 0.84 and 0.82.
    decode_flops, prefill_flops, training_flops
        Shares of the peak arithmetic: 0.5, 0.5 and 0.4. Assumed.
    layer_s
        Seconds that one layer takes beyond reading and computing. 1e-4: a 7B model on an H800 makes a step in 8.4 ms
        (StreamRL, Figure 6), its weights take 5.5 ms to read, and it has 28 layers.
    all_reduce_s
        Latency of one all-reduce within a machine, seconds. Assumed.
    network_gb_s
        Bandwidth of one GPU to other machines, 10^9 bytes/s; 25 is a 200 Gbps port for each GPU (StreamRL, section 10.1).
    """

    bandwidth: float = 0.82
    decode_flops: float = 0.5
    prefill_flops: float = 0.5
    training_flops: float = 0.4
    layer_s: float = 1e-4
    all_reduce_s: float = 1e-5
    network_gb_s: float = 25.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isfinite(value) and value >= 0) or (value == 0 and field.name not in ("layer_s", "all_reduce_s")):
                raise ValueError(f"{field.name} must be positive and finite, got {value}")


def decode_step(model: ModelSpec, gpu: Gpu, layout: Layout, efficiency: Efficiency) -> StepTime:
    """Return the step time of one generation instance.

    A step reads the weights once and the KV of all running requests, computes 2 FLOP per parameter and token, and meets two
    all-reduces per layer where tensor ranks share it. With pipeline ranks a token passes all of them in turn.
    """
    ranks = layout.tensor
    copies = max(1, ranks // model.kv_heads)
    sent = 2 * (ranks - 1) / ranks * BF16_BYTES * model.hidden_size / (gpu.nvlink_gb_s * 1e9 / 2)
    latency = efficiency.all_reduce_s if ranks > 1 else 0.0

    def seconds(batch: int) -> float:
        read = BF16_BYTES * model.read_parameters(batch) / (ranks * gpu.bandwidth * efficiency.bandwidth)
        computed = 2 * model.computing * batch / (ranks * gpu.flops * efficiency.decode_flops)
        return read + computed + model.layers * (efficiency.layer_s + 2 * (latency + batch * sent))

    prefill = 2 * model.computing / (ranks * gpu.flops * efficiency.prefill_flops) + 2 * model.layers * sent
    return StepTime(
        running=_BATCHES,
        seconds=tuple(seconds(batch) for batch in _BATCHES),
        seconds_per_kv_token=model.kv_bytes_per_token * copies / (ranks * gpu.bandwidth * efficiency.bandwidth),
        seconds_per_prefill_token=prefill,
    )


def generation_instance(
    model: ModelSpec, gpu: Gpu, layout: Layout, efficiency: Efficiency, max_batch: int = 256, site: str = ""
) -> Instance:
    """Return one data-parallel unit of generation as an instance; its price is that of its GPUs, 0 where unknown.

    Raises
    ------
    ValueError
        When the weights leave no room for KV.
    """
    capacity = kv_capacity(model, gpu, layout)
    if capacity < 16:
        raise ValueError(f"{model.name} must fit the memory of {layout.unit} x {gpu.name}, got no room for KV")
    return Instance(
        decode_step(model, gpu, layout, efficiency),
        capacity,
        max_batch,
        max(8192, max_batch),
        price_per_hour=0.0 if gpu.machine_price is None else gpu.price * layout.unit,
        site=site,
    )
