"""What the trainer learns from: one finished sample with its reward."""

from dataclasses import dataclass
from math import isfinite

from makespan.schedulers.types import FloatArray, IntArray, as_floats, as_integers

ROUNDING = 1e-3
"""How far above 0 the rounding of an engine may put a log-probability."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSample:
    """One finished sample as the trainer consumes it.

    Parameters
    ----------
    number
        Number of the request, unique in the whole run, so that none is trained twice.
    group
        Number of its prompt's group in the whole run.
    prompt_tokens
        Token ids of the prompt, at least one.
    output_tokens
        Token ids of the output, at least one.
    logprobs
        Log-probability of each output token under the weights and the temperature that generated it.
    reward
        Finite.
    version
        Weight version under which the first output token was generated.

    Raises
    ------
    ValueError
        If one of these does not hold; the message names the sample.
    """

    number: int
    group: int
    prompt_tokens: IntArray
    output_tokens: IntArray
    logprobs: FloatArray
    reward: float
    version: int

    def __post_init__(self) -> None:
        of = f" of sample {self.number}"
        object.__setattr__(self, "prompt_tokens", as_integers(self.prompt_tokens, "prompt_tokens" + of))
        object.__setattr__(self, "output_tokens", as_integers(self.output_tokens, "output_tokens" + of))
        object.__setattr__(self, "logprobs", as_floats(self.logprobs, "logprobs" + of))
        for name in ("prompt_tokens", "output_tokens"):
            if not len(getattr(self, name)):
                raise ValueError(f"{name}{of} must hold at least one token, got 0")
        if len(self.logprobs) != len(self.output_tokens):
            raise ValueError(
                f"logprobs{of} must be one per output token, got {len(self.logprobs)} for {len(self.output_tokens)}"
            )
        if self.logprobs.max() > ROUNDING:
            raise ValueError(f"logprobs{of} must be at most 0, got {self.logprobs.max():g}")
        if not isfinite(self.reward):
            raise ValueError(f"the reward{of} must be finite, got {self.reward}")
        if self.version < 0:
            raise ValueError(f"the version{of} must be at least 0, got {self.version}")

    @property
    def tokens(self) -> int:
        """Tokens of prompt and output together."""
        return len(self.prompt_tokens) + len(self.output_tokens)
