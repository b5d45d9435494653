"""A task to learn: seeded prompts of a reasoning-gym data set, and held-out ones that training never draws."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Self

from makespan.runtime.recording_prompts import check_tasks

HELD_OUT = 2**31
"""Data-set seeds from here on are held out; training draws below."""


@dataclass(frozen=True, slots=True, eq=False)
class TaskPrompt:
    """One prompt: its text, and the entry of the data set that its reward is computed from."""

    text: str
    entry: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A reasoning-gym data set with its configuration.

    Parameters
    ----------
    name
        Name of the data set.
    config
        Its configuration where it differs from the data set's own.
    seed
        Of the prompts of training; held-out prompts have a fixed seed of their own, so that runs can be compared.
    instruction
        Put after every question, for example how to write the answer.

    Raises
    ------
    ValueError
        If reasoning-gym has no such data set, or the configuration does not suit it.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    instruction: str = ""

    def __post_init__(self) -> None:
        check_tasks([self.name])
        for key in ("seed", "size"):
            if key in self.config:
                raise ValueError(f"the configuration of a task must leave {key} out, got {self.config[key]}")
        self._prompt(0)

    @classmethod
    def parse(cls, text: str, *, seed: int = 0, instruction: str = "") -> Self:
        """Read ``name`` or ``name:key=value,key=value``; values are JSON, or else plain strings."""
        name, _, rest = text.partition(":")
        config = {}
        for item in filter(None, rest.split(",")):
            key, equals, value = item.partition("=")
            if not equals:
                raise ValueError(f"a task must be written name:key=value,key=value, got {text!r}")
            try:
                config[key.strip()] = json.loads(value)
            except json.JSONDecodeError:
                config[key.strip()] = value
        return cls(name=name, config=config, seed=seed, instruction=instruction)

    def prompts(self, step: int, count: int) -> list[TaskPrompt]:
        """Draw the prompts of a training step: a function of the task, its seed and the step alone.

        More prompts of a step begin with the same ones.
        """
        return [self._prompt(_draw(f"{self.seed}:{step}:{index}")) for index in range(count)]

    def held_out(self, count: int) -> list[TaskPrompt]:
        """Draw prompts from data-set seeds that no training step of any seed draws from."""
        return [self._prompt(HELD_OUT + _draw(f"held-out:{index}")) for index in range(count)]

    def _prompt(self, seed: int) -> TaskPrompt:
        # One data set of one entry for each prompt: within a data set, entry i of seed s is entry 0 of seed s + i.
        gym: Any = import_module("reasoning_gym")
        try:
            entry = gym.create_dataset(self.name, size=1, seed=seed, **self.config)[0]
        except (AssertionError, TypeError, ValueError, KeyError, IndexError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"the configuration of task {self.name} must suit it, got {dict(self.config)}: {reason}"
            ) from error
        return TaskPrompt("\n".join(filter(None, (str(entry["question"]), self.instruction))), entry)


def _draw(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") % HELD_OUT
