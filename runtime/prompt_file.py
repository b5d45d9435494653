"""Prompts of a user's own: rows of a JSONL file, some of them held out."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from makespan.runtime.task import TaskPrompt

HELD_OUT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class PromptFile:
    """Prompts in a seeded random order, gone through again and again; the last tenth is never trained on.

    Parameters
    ----------
    rows
        Objects with a ``prompt``; the reward function gets the whole object.
    batch
        Prompts of a step.
    seed
        Of the order.
    """

    rows: tuple[dict[str, Any], ...]
    batch: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trained < self.batch:
            raise ValueError(
                f"--data must hold at least {self.batch} prompts to train on, as many as --prompts, "
                f"got {self.trained} and {len(self.rows) - self.trained} held out"
            )

    @classmethod
    def read(cls, file: Path, batch: int, seed: int = 0) -> Self:
        """Read a file of JSON objects, one a line."""
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file")
        rows = []
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{file}:{number}: a row must be a JSON object, got {error}") from None
            if not isinstance(row, dict) or not isinstance(row.get("prompt"), str):
                raise ValueError(f"{file}:{number}: prompt must be a text, got {line[:60]}")
            rows.append(row)
        return cls(tuple(rows), batch, seed)

    @property
    def trained(self) -> int:
        """Prompts that are not held out."""
        return len(self.rows) - int(HELD_OUT_SHARE * len(self.rows))

    def prompts(self, step: int, count: int) -> list[TaskPrompt]:
        """Return the prompts of a step: the next of the epoch, in the order of that epoch."""
        rows = self._shuffled()
        places = [divmod(position, self.trained) for position in range(step * count, (step + 1) * count)]
        order = {
            epoch: np.random.default_rng((self.seed, epoch)).permutation(self.trained)
            for epoch in {epoch for epoch, _ in places}
        }
        return [TaskPrompt(row["prompt"], row) for row in (rows[order[epoch][place]] for epoch, place in places)]

    def held_out(self, count: int) -> list[TaskPrompt]:
        """Return prompts that are never trained on, from the first on again when there are too few."""
        held = self._shuffled()[self.trained :]
        if not held:
            raise ValueError(f"--data must hold at least 10 prompts for some to be held out, got {len(self.rows)}")
        return [TaskPrompt(row["prompt"], row) for row in (held[k % len(held)] for k in range(count))]

    def _shuffled(self) -> list[dict[str, Any]]:
        return [self.rows[k] for k in np.random.default_rng(self.seed).permutation(len(self.rows))]
