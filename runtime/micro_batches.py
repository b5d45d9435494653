"""Cutting waiting samples into micro-batches: longest first, padded tokens within a budget."""

from bisect import insort
from dataclasses import dataclass, field

from makespan.runtime.training_sample import TrainingSample


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """A sample, its advantage, and the weight of each of its tokens in the sum over the step."""

    sample: TrainingSample
    advantage: float
    weight: float


@dataclass(slots=True, eq=False)
class MicroBatches:
    """Samples that wait for their micro-batch.

    Rows of a micro-batch are padded to its longest, so neighbours in length go together, and a micro-batch is full
    when not even one more sample fits. A sample longer than the budget is full on its own.

    Parameters
    ----------
    budget
        Most tokens of one micro-batch, padding included.
    """

    budget: int
    _waiting: list[Weighted] = field(default_factory=list)

    def add(self, sample: Weighted) -> None:
        """Let a sample wait."""
        insort(self._waiting, sample, key=lambda item: (-item.sample.tokens, item.sample.number))

    def take_full(self) -> list[Weighted]:
        """Take a full micro-batch out, or nothing."""
        return self._take(self._room()) if self._waiting and len(self._waiting) >= self._room() else []

    def take(self) -> list[Weighted]:
        """Take the next micro-batch out, full or not; nothing when none waits."""
        return self._take(self._room()) if self._waiting else []

    def __len__(self) -> int:
        return len(self._waiting)

    def _room(self) -> int:
        return max(1, self.budget // self._waiting[0].sample.tokens)

    def _take(self, count: int) -> list[Weighted]:
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken
