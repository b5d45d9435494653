"""What a fitted model is made of once it is saved: arrays of numbers and texts, never objects."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makespan.schedulers.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """Arrays and texts by name.

    Parameters
    ----------
    arrays
        Written as safetensors.
    texts
        Written as plain text, such as a LightGBM model.
    """

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def array(self, name: str) -> FloatArray:
        """Return an array, or raise `KeyError`."""
        return np.asarray(self.arrays[name], dtype=np.float64)

    def under(self, prefix: str) -> "Parameters":
        """Return what is named ``prefix/...``, without the prefix."""
        start = f"{prefix}/"
        return Parameters(
            {name.removeprefix(start): value for name, value in self.arrays.items() if name.startswith(start)},
            {name.removeprefix(start): value for name, value in self.texts.items() if name.startswith(start)},
        )

    def named(self, prefix: str) -> "Parameters":
        """Return the same under ``prefix/...``."""
        return Parameters(
            {f"{prefix}/{name}": value for name, value in self.arrays.items()},
            {f"{prefix}/{name}": value for name, value in self.texts.items()},
        )

    def __or__(self, other: "Parameters") -> "Parameters":
        return Parameters(self.arrays | other.arrays, self.texts | other.texts)
