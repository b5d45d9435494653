"""How the samples of a stage are drawn, as the requests that its instances are sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from makespan.runtime.token_engine import TokenRequest
from makespan.schedulers.types import IntArray


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How samples are drawn.

    Parameters
    ----------
    temperature
        Of the sampling.
    seeds
        One for each request, or None for the engine's own.
    forced
        Exact output lengths to replay, or None to let the model end. Shape (n,).
    """

    temperature: float = 1.0
    seeds: Sequence[int] | None = None
    forced: IntArray | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < inf:
            raise ValueError(f"the temperature must not be negative, got {self.temperature}")

    def total(self, row: int, cap: int) -> int:
        """Return after how many tokens a request ends if the model has not ended it."""
        return cap if self.forced is None else int(self.forced[row])

    def order(
        self, row: int, number: int, prompt: Sequence[int], made: Sequence[int], until: int, key: float
    ) -> TokenRequest:
        """Return what an instance is sent to begin a request, or to go on with it.

        Parameters
        ----------
        row
            Which request of the stage.
        number
            What the pool calls it.
        prompt, made
            Token ids: its prompt, and what has been generated already.
        until
            Tokens of it in all at which the instance stops.
        key
            A smaller one is admitted earlier.
        """
        return TokenRequest(
            number=number,
            prompt=(*prompt, *made),
            max_tokens=until - len(made),
            priority=order_preserving(key),
            temperature=self.temperature,
            # What goes on elsewhere must not draw again the numbers that its beginning drew.
            seed=(self.seeds[row] + 7919 * len(made)) % 2**63 if self.seeds is not None else None,
            forced=self.forced is not None,
        )


def order_preserving(key: float) -> int:
    """Return an integer of 64 bits; they are ordered as the numbers they come from."""
    bits = int(np.float64(key + 0.0).view(np.int64))
    return bits if bits >= 0 else bits ^ 0x7FFF_FFFF_FFFF_FFFF
