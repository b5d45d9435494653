"""What a step of a model takes, summed from the measured times of its layers and of the collectives between its GPUs."""

from dataclasses import dataclass

import numpy as np

from makespan.runtime.architectures import BYTES, Architecture
from makespan.runtime.layer_tables import LayerTables
from makespan.schedulers.types import FloatArray

ONCE = ("embedding", "final_layernorm")
TWICE = ("layernorm",)


@dataclass(frozen=True, slots=True)
class Link:
    """A pair of GPUs: a collective over `bytes` lasts ``2 * latency_s + bytes / bytes_per_s``."""

    latency_s: float
    bytes_per_s: float

    def seconds(self, size: FloatArray) -> FloatArray:
        """Return the time of collectives of these sizes in bytes."""
        return 2 * self.latency_s + size / self.bytes_per_s


PCIE_RTX_PRO_6000 = Link(6.6e-6, 15.92e9)
"""NCCL all-reduce, all-gather and reduce-scatter between two RTX PRO 6000 without NVLink, replayed from CUDA graphs, twelve
sizes of each from 10 KB to 21 MB; mean error of the line 4.9 %. Source: `profiler/perf/RTXPRO6000/hardware.yaml` of
casys-kaist/LLMServingSim at e08dc388 (MIT), measured apart from any run of an engine."""


@dataclass(frozen=True, slots=True, eq=False)
class Deployment:
    """A model on one GPU, on two by tensor parallelism, or as two data-parallel ranks that share their experts.

    Data-parallel ranks that share experts step together, so they are one instance here: decoding requests are split
    evenly, a prompt is computed by one rank while the other waits for it at the experts.

    Parameters
    ----------
    tables
        Measured at the degree of tensor parallelism.
    model
        Its sizes.
    tensor_parallel, ranks
        1 or 2, and not both 2.
    link
        Between the GPUs; None leaves the collectives out.
    max_tokens
        Most tokens that one rank computes in a step.
    """

    tables: LayerTables
    model: Architecture
    tensor_parallel: int = 1
    ranks: int = 1
    link: Link | None = None
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        if (self.tensor_parallel, self.ranks) not in ((1, 1), (2, 1), (1, 2)):
            raise ValueError(
                "a deployment must be one GPU or a pair, got tensor parallelism "
                f"{self.tensor_parallel} of {self.ranks} data-parallel ranks"
            )

    def dense(self, tokens: FloatArray) -> FloatArray:
        """Return seconds of everything but attention, experts and head on one rank."""
        return self._sum(self.tables.dense, tokens)

    def head(self, requests: FloatArray) -> FloatArray:
        """Return seconds from hidden states to sampled tokens on one rank, with the logits of both GPUs brought together."""
        seconds = sum((np.interp(requests, *table) for table in self.tables.per_sequence.values()), np.zeros_like(requests))
        if self.tensor_parallel == 2 and self.link is not None:
            seconds = seconds + self.link.seconds(requests * self.model.vocabulary / 2 * BYTES)
        return seconds

    def shared(self, tokens: FloatArray) -> FloatArray:
        """Return seconds that all ranks spend together on `tokens`: collectives, and experts where they are shared."""
        model, seconds = self.model, np.zeros_like(tokens)
        if model.experts:
            seconds = seconds + model.layers * self._experts(tokens)
        if self.link is None:
            return seconds
        hidden = tokens * model.hidden * BYTES
        if self.tensor_parallel == 2:
            return seconds + (2 * model.layers + 1) * self.link.seconds(hidden)
        if self.ranks == 2:
            gathered = hidden + tokens * model.experts * BYTES
            return seconds + model.layers * (self.link.seconds(gathered / 2) + self.link.seconds(hidden / 2))
        return seconds

    def _experts(self, tokens: FloatArray) -> FloatArray:
        """Return seconds of one layer's experts; each rank has its part of them, and routing is taken to be even."""
        model, table = self.model, self.tables.moe
        if not len(table):
            raise ValueError("a model with experts needs a table of their times, got none")
        touched = model.experts * (1 - (1 - model.experts_per_token / model.experts) ** tokens) / self.ranks
        active = sorted(set(table[:, 1]))
        curves = [table[table[:, 1] == experts] for experts in active]
        seconds = np.stack([np.interp(tokens / self.ranks, curve[:, 0], curve[:, 2]) for curve in curves])
        return np.array([np.interp(t, active, column) for t, column in zip(touched, seconds.T, strict=True)])

    def _sum(self, layers: dict[str, FloatArray], size: FloatArray) -> FloatArray:
        seconds = np.zeros_like(size)
        for name, table in layers.items():
            count = 1 if name in ONCE else self.model.layers * (2 if name in TWICE else 1)
            seconds = seconds + count * np.interp(size, *table)
        return seconds
