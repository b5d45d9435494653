"""Who takes part in a race: one policy with one information source, over one or more seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from makespan.harness.record import Record

FIFO = "fifo"
NONE = "none"
ORACLE = "oracle"
PARTIAL = "†"


class Spread(NamedTuple):
    """Median and range of one quantity over the seeds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return median and range of `values`, at least one."""
    return Spread(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """One policy with one information source, once per seed.

    Parameters
    ----------
    policy, information
        Names.
    runs
        Its records, by seed.
    complete
        Whether it delivered all that was asked for in every seed. One that gives up requests is fast at a price.
    """

    policy: str
    information: str
    runs: tuple[Record, ...]
    complete: bool

    def of(self, quantity: Callable[[Record], float]) -> Spread:
        """Return median and range of a quantity over the seeds."""
        return spread([quantity(run) for run in self.runs])

    @property
    def gap(self) -> float:
        """Median gap, by which contenders are ranked."""
        return self.of(lambda run: run.gap).median

    @property
    def label(self) -> str:
        """The policy, marked where it did not deliver everything."""
        return self.policy if self.complete else f"{self.policy} {PARTIAL}"

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return self.policy if self.information == NONE else f"{self.policy} with {self.information}"
