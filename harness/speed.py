"""Speed figures of a benchmark run, collected for `speed.json` and the summary."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from makespan.harness.store import write_whole


@dataclass(frozen=True, slots=True)
class Speed:
    """One figure.

    Parameters
    ----------
    what
        What was done, with its size.
    value, unit
        The figure.
    target
        What it should be at most (or at least, when it is a rate); None where there is no target.
    """

    what: str
    value: float
    unit: str
    target: float | None = None

    def __str__(self) -> str:
        aim = "" if self.target is None else f" (target {self.target:,g})"
        return f"{self.what}: {self.value:,.3g} {self.unit}{aim}"


def write_speeds(speeds: list[Speed], folder: Path) -> None:
    """Write all figures of a run to ``speed.json``."""
    write_whole(folder / "speed.json", json.dumps([asdict(speed) for speed in speeds], indent=1) + "\n")
