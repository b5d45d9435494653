"""What is asked for: the requests of one generation stage, one column per fact."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from makespan.schedulers.types import FloatArray, IntArray, as_floats, as_integers, at_least


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """Requests as columns; row `j` of every column is request `j`.

    Parameters
    ----------
    prompt_tokens
        Tokens of the prompt, at least 1. Shape (n,).
    max_new_tokens
        Cap on new tokens, at least 1. Shape (n,).
    group
        Requests with equal numbers share one prompt (GRPO siblings). Shape (n,).
    arrival
        Seconds after the start of the stage at which the request becomes known. Shape (n,).
    sequence
        The counter that breaks every tie, distinct. It travels with the request, so that permuting rows
        permutes a plan and changes nothing else. Shape (n,).

    Notes
    -----
    There are no output lengths here: a policy that sees only `Requests` cannot know them.
    """

    prompt_tokens: IntArray
    max_new_tokens: IntArray
    group: IntArray
    arrival: FloatArray
    sequence: IntArray

    def __post_init__(self) -> None:
        count = len(self.prompt_tokens)
        if count == 0:
            raise ValueError("a workload needs at least one request, got 0")
        for name in ("max_new_tokens", "group", "arrival", "sequence"):
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name} must have {count} rows, got {len(getattr(self, name))}")
        at_least(self.prompt_tokens, 1, "prompt_tokens")
        at_least(self.max_new_tokens, 1, "max_new_tokens")
        at_least(self.arrival, 0, "arrival")
        if len(np.unique(self.sequence)) != count:
            raise ValueError("sequence must be distinct, got a repeated number")

    @classmethod
    def of(
        cls,
        prompt_tokens: ArrayLike,
        max_new_tokens: ArrayLike,
        *,
        group: ArrayLike | None = None,
        arrival: ArrayLike | None = None,
        sequence: ArrayLike | None = None,
    ) -> Self:
        """Build requests from anything array-like; by default each is its own group and all arrive at 0."""
        prompts = as_integers(prompt_tokens, "prompt_tokens")
        count = len(prompts)
        return cls(
            prompt_tokens=prompts,
            max_new_tokens=as_integers(max_new_tokens, "max_new_tokens"),
            group=as_integers(np.arange(count) if group is None else group, "group"),
            arrival=as_floats(np.zeros(count) if arrival is None else arrival, "arrival"),
            sequence=as_integers(np.arange(count) if sequence is None else sequence, "sequence"),
        )

    def __len__(self) -> int:
        return len(self.prompt_tokens)

    def take(self, rows: ArrayLike) -> Self:
        """Return the requests of `rows`, in that order, each with the sequence number it had."""
        chosen = np.asarray(rows)
        return type(self).of(
            self.prompt_tokens[chosen],
            self.max_new_tokens[chosen],
            group=self.group[chosen],
            arrival=self.arrival[chosen],
            sequence=self.sequence[chosen],
        )
