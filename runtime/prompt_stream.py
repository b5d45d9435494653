"""An epoch of prompts in the order in which they are issued, with the lengths that their samples turn out to have."""

from dataclasses import dataclass

from makespan.schedulers.types import FloatArray, IntArray, at_least


@dataclass(frozen=True, slots=True, eq=False)
class PromptStream:
    """Prompts and draws of their outputs.

    Parameters
    ----------
    prompt_tokens
        Tokens of each prompt, at least 1. Shape (G,).
    lengths
        Output length of the d-th sample that is drawn from each prompt, from 1 to `cap`; draw D is draw 0 again.
        Shape (G, D).
    cap
        Cap on new tokens of a sample.
    previous
        Length of each prompt in an earlier epoch, NaN where unknown; None when there was none. Shape (G,).
    redraws
        Whether a sample that starts again from scratch is another draw, as with a real model, or ends as long as before.
    """

    prompt_tokens: IntArray
    lengths: IntArray
    cap: int
    previous: FloatArray | None = None
    redraws: bool = True

    def __post_init__(self) -> None:
        if self.lengths.ndim != 2 or self.lengths.size == 0:
            raise ValueError(f"lengths must be a row of draws for each prompt, got shape {self.lengths.shape}")
        if len(self.prompt_tokens) != len(self):
            raise ValueError(f"prompt_tokens must have {len(self)} rows, got {len(self.prompt_tokens)}")
        if self.previous is not None and len(self.previous) != len(self):
            raise ValueError(f"previous must have {len(self)} rows, got {len(self.previous)}")
        at_least(self.prompt_tokens, 1, "prompt_tokens")
        at_least(self.lengths.ravel(), 1, "lengths")
        if self.lengths.max() > self.cap:
            raise ValueError(f"an output must not exceed its cap of {self.cap} tokens, got {self.lengths.max()}")

    def __len__(self) -> int:
        return len(self.lengths)

    def length(self, prompts: IntArray, draws: IntArray) -> IntArray:
        """Return the output length of draw ``draws[k]`` of prompt ``prompts[k]``."""
        drawn: IntArray = self.lengths[prompts, draws % self.lengths.shape[1]]
        return drawn
