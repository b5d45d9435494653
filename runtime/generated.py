"""What a generation stage hands to the trainer: when each sample is ready, counted from the start of its instance."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from makespan.runtime.engine import Timeline
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """One generation stage.

    Parameters
    ----------
    ready_s
        Seconds from the start of its instance until each sample has ended, not negative. Shape (n,).
    instance
        Which instance generated it. Shape (n,).
    tokens
        Prompt and output tokens, what the trainer computes on. Shape (n,).
    useful_s
        Seconds each instance did useful work (everything but computing again). Shape (N,).
    tokens_wasted
        Tokens generated and thrown away.
    """

    ready_s: FloatArray
    instance: IntArray
    tokens: FloatArray
    useful_s: FloatArray
    tokens_wasted: int = 0

    def __post_init__(self) -> None:
        if not len(self.ready_s) == len(self.instance) == len(self.tokens) > 0:
            raise ValueError(f"a stage must hand over at least one sample with all its columns, got {len(self.ready_s)}")
        if not (np.isfinite(self.ready_s).all() and self.ready_s.min() >= 0):
            raise ValueError(f"samples must be ready after the start, got {self.ready_s.min()} s")

    @classmethod
    def of(cls, timeline: Timeline, requests: Requests) -> Self:
        """Return what a simulated stage hands over: the samples that finished."""
        done = timeline.finished
        return cls(
            ready_s=timeline.ended[done],
            instance=timeline.instance[done],
            tokens=(requests.prompt_tokens + timeline.generated)[done].astype(np.float64),
            useful_s=timeline.prefill_s + timeline.decode_s,
            tokens_wasted=int(timeline.generated[~done].sum()),
        )

    @property
    def seconds(self) -> float:
        """Seconds until the last sample."""
        return float(self.ready_s.max())

    @property
    def instance_s(self) -> FloatArray:
        """Seconds until the last sample of each instance, 0 where it had none. Shape (N,)."""
        last = np.zeros(len(self.useful_s))
        np.maximum.at(last, self.instance, self.ready_s)
        return last
