"""Splits into training and test groups; no prompt is ever on both sides unless the split is one by time."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from makespan.ranker.prompt_groups import PromptGroups, codes
from makespan.schedulers.types import BoolArray, IntArray

KINDS = ("prompt", "task", "domain", "version")


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """What is trained on and what is tested on.

    Parameters
    ----------
    name
        Which fold it is.
    train, test
        Of every group whether it belongs there. Shape (G,) each.
    """

    name: str
    train: BoolArray
    test: BoolArray


def splits(groups: PromptGroups, kind: str = "prompt", folds: int = 5, seed: int = 0) -> Iterator[Split]:
    """Yield the folds of a split.

    Parameters
    ----------
    groups
        What is split.
    kind
        ``prompt``: prompts at random; ``task``: whole tasks at random; ``domain``: each domain once; ``version``: each
        policy version but the first, trained on those before it, so that prompts recur as they do in a job.
    folds
        How many, for ``prompt`` and ``task``.
    seed
        Of what is random.

    Raises
    ------
    ValueError
        When there are fewer prompts, tasks, domains or versions than the split needs.
    """
    if kind not in KINDS:
        raise ValueError(f"a split must be by {', '.join(KINDS)}, got {kind!r}")
    if kind == "version":
        yield from _by_version(groups)
        return
    unit = groups.prompt_number if kind == "prompt" else codes(groups.task if kind == "task" else groups.domain)
    units = np.unique(unit)
    count = len(units) if kind == "domain" else folds
    if count < 2 or len(units) < count:
        raise ValueError(f"a split by {kind} into {max(count, 2)} folds needs as many {kind}s, got {len(units)}")
    fold = np.empty(len(units), dtype=np.int64)
    fold[np.random.default_rng(seed).permutation(len(units))] = np.arange(len(units)) % count
    of_group: IntArray = fold[np.searchsorted(units, unit)]
    for number in range(count):
        test = of_group == number
        # The same words may occur under two tasks.
        train = ~test & ~np.isin(groups.prompt_number, groups.prompt_number[test])
        yield Split(f"{kind} fold {number + 1} of {count}", train, test)


def _by_version(groups: PromptGroups) -> Iterator[Split]:
    names = in_order(set(groups.version))
    if len(names) < 2:
        raise ValueError(f"a split by version needs at least two policy versions, got {len(names)}")
    number = np.array([names.index(version) for version in groups.version])
    for later in range(1, len(names)):
        yield Split(f"version {names[later]}", number < later, number == later)


def in_order(versions: Iterable[str]) -> list[str]:
    """Return policy versions, the oldest first: step_400 comes before step_1200."""
    return sorted(versions, key=_natural)


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
