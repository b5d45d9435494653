"""A kind of GPU as its data sheet and price list describe it."""

from dataclasses import dataclass, fields
from math import isfinite


@dataclass(frozen=True, slots=True)
class Gpu:
    """A kind of GPU.

    Parameters
    ----------
    name
        What it is called.
    bf16_tflops
        Peak dense BF16 arithmetic, 10^12 FLOP/s.
    memory_gb
        Memory, 10^9 bytes.
    memory_bandwidth_tb_s
        Memory bandwidth, 10^12 bytes/s.
    nvlink_gb_s
        Bandwidth to the other GPUs of its machine, both directions together, 10^9 bytes/s.
    gpus_per_machine
        GPUs in one machine, at least 1.
    machine_price
        Price of a machine, in any unit that is the same for all; None where it is not known.
    """

    name: str
    bf16_tflops: float
    memory_gb: float
    memory_bandwidth_tb_s: float
    nvlink_gb_s: float
    gpus_per_machine: int = 8
    machine_price: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "name" and value is not None and not (isfinite(value) and value > 0):
                raise ValueError(f"{field.name} of {self.name} must be positive and finite, got {value}")

    @property
    def flops(self) -> float:
        """Peak BF16 FLOP/s."""
        return self.bf16_tflops * 1e12

    @property
    def memory_bytes(self) -> float:
        """Memory in bytes."""
        return self.memory_gb * 1e9

    @property
    def bandwidth(self) -> float:
        """Memory bandwidth in bytes/s."""
        return self.memory_bandwidth_tb_s * 1e12

    @property
    def price(self) -> float:
        """Price of one GPU.

        Raises
        ------
        ValueError
            Where no price is known.
        """
        if self.machine_price is None:
            raise ValueError(f"a cost needs the price of a machine, got none for {self.name}")
        return self.machine_price / self.gpus_per_machine
