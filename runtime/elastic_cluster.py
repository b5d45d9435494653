"""Instances that join or leave while a stage runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from makespan.schedulers.types import BoolArray

LATEST_S = 4_000_000
"""Simulated time in picoseconds goes a little further than this."""


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """An instance joins or leaves.

    Parameters
    ----------
    at
        Seconds after the start of the stage, not negative.
    instance
        Its index in the cluster.
    live
        Whether it is there from then on.
    """

    at: float
    instance: int
    live: bool

    def __post_init__(self) -> None:
        if not 0 <= self.at <= LATEST_S:
            raise ValueError(f"an instance must join or leave between 0 and {LATEST_S:,} s, got {self.at}")


def live_and_changes(instances: int, changes: Sequence[Change]) -> tuple[BoolArray, list[Change]]:
    """Return which instances are there at the start, and the changes in the order of their times.

    Raises
    ------
    ValueError
        When a change names no instance, an instance joins or leaves twice in a row, or none is left at the end.
    """
    ordered = sorted(changes, key=lambda change: change.at)
    live = np.ones(instances, dtype=np.bool_)
    last: dict[int, bool] = {}
    for change in ordered:
        if not 0 <= change.instance < instances:
            raise ValueError(f"a change must name an instance 0 to {instances - 1}, got {change.instance}")
        if last.get(change.instance) == change.live:
            words = "join" if change.live else "leave"
            raise ValueError(f"an instance cannot {words} twice in a row, got {change.instance} at {change.at} s")
        if change.instance not in last:
            live[change.instance] = not change.live
        last[change.instance] = change.live
    if not any(last.get(i, True) for i in range(instances)):
        raise ValueError("an instance must be left at the end, got changes after which there is none")
    return live, ordered
