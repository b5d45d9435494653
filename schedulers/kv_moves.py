"""What it takes to bring the KV of a request to another instance."""

from dataclasses import dataclass
from math import isfinite

from makespan.schedulers.step_time import PICOSECONDS


@dataclass(frozen=True, slots=True)
class KvMoves:
    """KV travels with a request that leaves an instance: by RDMA (Heddle, RLHFuse) or through a pool (Seer's, Mooncake).

    Transfers into one instance follow one another; the latency of one passes beside the others.

    Parameters
    ----------
    bytes_per_token
        Bytes of KV of one token, all layers, at least 1.
    bytes_per_second
        Bandwidth into an instance, positive; a token must arrive within a second.
    latency_s
        Seconds until the first byte arrives, 0 to 3,600.
    """

    bytes_per_token: float
    bytes_per_second: float
    latency_s: float = 0.0

    def __post_init__(self) -> None:
        if not (isfinite(self.bytes_per_token) and self.bytes_per_token >= 1):
            raise ValueError(f"bytes_per_token must be at least 1 and finite, got {self.bytes_per_token}")
        if not (isfinite(self.bytes_per_second) and self.bytes_per_second > 0):
            raise ValueError(f"bytes_per_second must be positive and finite, got {self.bytes_per_second}")
        if self.bytes_per_token > self.bytes_per_second:
            raise ValueError(
                f"bytes_per_second must bring a token of {self.bytes_per_token:g} bytes within a second, "
                f"got {self.bytes_per_second:g}"
            )
        if not 0 <= self.latency_s <= 3600:
            raise ValueError(f"latency_s must be between 0 and 3,600, got {self.latency_s}")

    @property
    def ps_per_token(self) -> int:
        """Picoseconds in which one token arrives."""
        return round(self.bytes_per_token / self.bytes_per_second * PICOSECONDS)

    @property
    def latency_ps(self) -> int:
        """Picoseconds until the first byte arrives."""
        return round(self.latency_s * PICOSECONDS)
