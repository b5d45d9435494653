"""What the generation service is given and what it gives back."""

from dataclasses import dataclass

from makespan.schedulers.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What a sample begins with.

    Parameters
    ----------
    tokens
        Token ids.
    refused
        Why it cannot be generated from; such a sample fails with this reason.
    begun
        A sample of it that was aborted, to be taken up where it ended.
    """

    tokens: tuple[int, ...]
    refused: str = ""
    begun: "Sample | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One sample of a prompt, finished, aborted or failed.

    Parameters
    ----------
    row
        Which request of its stage.
    group
        Its prompt's number within the stage.
    prompt, tokens
        Token ids.
    logprobs
        Log-probability of each token under the weights and temperature that drew it.
    ended
        ``stop`` at an end-of-sequence token, ``length`` at its cap, ``abort`` or ``failed``.
    reason
        Why it failed; else empty.
    versions
        Weight version and first token of each stretch of it that was made under one version.
    instance
        Where it ran last, -1 for nowhere.
    admitted, first_token, finished_at
        Seconds from the start of the stage; NaN where it never happened.
    preemptions
        How often it lost its KV, or was moved.
    """

    row: int
    group: int
    prompt: IntArray
    tokens: IntArray
    logprobs: FloatArray
    ended: str
    reason: str
    versions: tuple[tuple[int, int], ...]
    instance: int
    admitted: float
    first_token: float
    finished_at: float
    preemptions: int

    @property
    def complete(self) -> bool:
        """Whether it can be trained on."""
        return self.ended in ("stop", "length")

    @property
    def start_version(self) -> int:
        """Weight version of its first token, -1 where it has none."""
        return self.versions[0][0] if self.versions else -1

    @property
    def end_version(self) -> int:
        """Weight version of its last token, -1 where it has none."""
        return self.versions[-1][0] if self.versions else -1
