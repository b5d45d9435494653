"""Admissions: may a placed request be handed to its instance now."""

from dataclasses import dataclass

from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class EngineAdmits:
    """Everything placed goes to the engine at once; the engine queues what it cannot run."""

    def admit(self, view: View, instance: int, rows: IntArray) -> int:
        """Return the number of rows."""
        return len(rows)


@dataclass(frozen=True, slots=True)
class BatchCap:
    """At most `cap` requests inside an instance, or its batch limit when no cap is given.

    What is beyond the cap waits with the dispatcher, where better estimates can still change its order.
    """

    cap: int | None = None

    def __post_init__(self) -> None:
        if self.cap is not None and self.cap < 1:
            raise ValueError(f"a batch cap must be at least 1, got {self.cap}")

    def admit(self, view: View, instance: int, rows: IntArray) -> int:
        """Return the room below the cap."""
        limit = int(view.cluster.max_batch[instance])
        cap = limit if self.cap is None else min(self.cap, limit)
        inside = int(view.running[instance] + view.queued[instance])
        return min(len(rows), max(0, cap - inside))
