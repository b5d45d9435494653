"""What a recording is: prompts, samples, cap, temperature and the seeds that make it repeatable."""

import hashlib
from dataclasses import dataclass

TASKS = (
    "aiw",
    "calendar_arithmetic",
    "chain_sum",
    "color_cube_rotation",
    "countdown",
    "course_schedule",
    "decimal_chain_sum",
    "fraction_simplification",
    "game_of_life_halting",
    "letter_counting",
    "power_function",
    "products",
    "sentence_reordering",
    "time_intervals",
    "word_sequence_reversal",
    "zebra_puzzles",
)
"""Tasks that SmolLM2 answers in ten to a few hundred tokens, save about one sample in nine that never ends."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What to record; the defaults are those of the recording that ships in ``datasets/``.

    Parameters
    ----------
    tasks
        Names of reasoning-gym data sets, taken in turn.
    prompts
        How many prompts in all.
    samples
        How many samples of each prompt.
    cap
        Most new tokens of one sample.
    temperature
        Sampling temperature.
    seed
        Seed of the prompts and, with the prompt and sample numbers, of every sample.
    """

    tasks: tuple[str, ...] = TASKS
    prompts: int = 512
    samples: int = 9
    cap: int = 2048
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(self.tasks))
        if not self.tasks:
            raise ValueError("a recording needs at least one task, got 0")
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks must be distinct, got {', '.join(self.tasks)}")
        for name, value in (("prompts", self.prompts), ("samples", self.samples), ("cap", self.cap)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be positive and finite, got {self.temperature}")


def sample_seed(seed: int, prompt: int, sample: int) -> int:
    """Derive the sampling seed of one sample, the same in every process and independent of all the others."""
    digest = hashlib.blake2b(f"{seed}:{prompt}:{sample}".encode(), digest_size=8).digest()
    # 53 bits survive every JSON reader.
    return int.from_bytes(digest, "big") >> 11
