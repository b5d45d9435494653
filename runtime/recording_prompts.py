"""Prompts of a recording: procedural reasoning tasks, seeded, whose answers a program can check."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Prompt:
    """One prompt: its number in the recording, its task, its group and its text."""

    number: int
    task: str
    group: str
    text: str


def make_prompts(tasks: Sequence[str], *, prompts: int, seed: int) -> list[Prompt]:
    """Take prompts from the tasks in turn, so that every prefix of the recording is balanced.

    Parameters
    ----------
    tasks
        Names of reasoning-gym data sets.
    prompts
        How many prompts in all.
    seed
        Seed of every data set.
    """
    # reasoning-gym has no type information.
    gym: Any = import_module("reasoning_gym")
    check_tasks(tasks)
    each = -(-prompts // len(tasks))
    sets = [gym.create_dataset(task, size=each, seed=seed) for task in tasks]
    made = []
    for number in range(prompts):
        index, which = divmod(number, len(tasks))
        task = tasks[which]
        made.append(Prompt(number, task, f"{task}-{index}", str(sets[which][index]["question"])))
    return made


def check_tasks(tasks: Sequence[str]) -> None:
    """Raise ``ValueError`` for a task that reasoning-gym does not have."""
    known = list(import_module("reasoning_gym.factory").DATASETS)
    for task in tasks:
        if task not in known:
            near = difflib.get_close_matches(task, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"a task must be a reasoning-gym data set, got {task!r}{hint}")
