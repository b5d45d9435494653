"""JITServe's order: what is gained by finishing a request, over the time it still takes (NSDI 2026)."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class GoodputDensityFirst:
    """Highest goodput density first: ``(prompt + weight * length) / (length - generated)``.

    Parameters
    ----------
    decode_weight
        What an output token is worth in prompt tokens; 8 in the released code.

    Notes
    -----
    arXiv 2504.20068 and ``SLOPolicy`` of its code, the type of request without a deadline that decays. Here no request has
    a deadline, so the factor for a predicted miss is 1 and the mean step time cancels. The length is the highest quantile
    that the estimates have, as with its quantile forest, else the point. Its GMAX, which picks from the densest a window
    of similar lengths and swaps out what runs besides, is not part of this order.
    """

    decode_weight: float = 8.0

    def __post_init__(self) -> None:
        if not self.decode_weight >= 0:
            raise ValueError(f"the weight of an output token must not be negative, got {self.decode_weight}")

    def keys(self, view: View, rows: IntArray) -> FloatArray:
        """Return minus the density."""
        quantiles = view.estimates.quantiles
        length = view.estimates.point[rows] if quantiles is None else quantiles[rows, -1]
        gain = view.requests.prompt_tokens[rows] + self.decode_weight * length
        density: FloatArray = gain / np.maximum(length - view.generated[rows], 1.0)
        return -density
