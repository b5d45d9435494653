"""What the dispatcher needs from an engine, simulated or real, and what a run leaves behind."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from makespan.schedulers.instances import Cluster
from makespan.schedulers.types import BoolArray, FloatArray, IntArray


class CannotRun(RuntimeError):
    """An engine or a trainer cannot be started, or not again."""


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """What happened while time passed.

    Parameters
    ----------
    rows
        Requests that have just ended.
    finished
        Whether each of them finished; else it was aborted or failed.
    generated
        Tokens each of them generated.
    returned
        Requests that were inside an instance and are outside again: it was lost, they were recalled, or they have
        generated as many tokens as they were started for, or their tool has answered.
    away
        Requests that have left their instance because a turn of them is over and a tool works.
    """

    rows: IntArray
    finished: BoolArray
    generated: IntArray
    returned: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    away: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """What happened to every request and instance. Times are seconds from the start; NaN where it never happened.

    Parameters
    ----------
    instance
        Where each request ran last, -1 for nowhere. Shape (n,).
    admitted, first_token, ended
        Shape (n,).
    finished
        Whether it finished rather than being aborted. Shape (n,).
    generated, preemptions, recomputed, moved_tokens
        Tokens generated; times preempted or moved; tokens computed again; tokens whose KV was brought from elsewhere.
        Shape (n,).
    prefill_s, decode_s, recompute_s
        Busy seconds of each instance by what they were spent on. Shape (N,).
    batch_s
        Integral of the batch size over time. Shape (N,).
    steps
        Engine steps. Shape (N,).
    peak_batch, peak_blocks
        Most requests in the batch and most KV blocks in use at any time. Shape (N,).
    """

    instance: IntArray
    admitted: FloatArray
    first_token: FloatArray
    ended: FloatArray
    finished: BoolArray
    generated: IntArray
    preemptions: IntArray
    recomputed: IntArray
    moved_tokens: IntArray
    prefill_s: FloatArray
    decode_s: FloatArray
    recompute_s: FloatArray
    batch_s: FloatArray
    steps: IntArray
    peak_batch: IntArray
    peak_blocks: IntArray


class Engine(Protocol):
    """Instances that generate. The columns are live and read-only for callers."""

    @property
    def cluster(self) -> Cluster:
        """The instances."""
        ...

    @property
    def now(self) -> float:
        """Seconds since the start of the stage."""
        ...

    @property
    def live(self) -> BoolArray:
        """Which instances take requests: not those that have been lost, have left, or have yet to join."""
        ...

    @property
    def running(self) -> IntArray:
        """Requests in the batch of each instance."""
        ...

    @property
    def queued(self) -> IntArray:
        """Requests waiting inside each instance."""
        ...

    @property
    def kv_blocks_used(self) -> IntArray:
        """KV blocks in use on each instance."""
        ...

    @property
    def generated(self) -> IntArray:
        """Tokens each request has generated, as of the last report."""
        ...

    def look(self) -> None:
        """Ask for a report now, if that is possible without letting time pass."""
        ...

    @property
    def state(self) -> IntArray:
        """State of each request, as in `View`."""
        ...

    def start(self, rows: IntArray, instances: IntArray, keys: FloatArray, tokens: IntArray | None = None) -> None:
        """Hand requests to instances; a smaller key is admitted earlier, ties in the order of these calls.

        With `tokens`, a request that has generated so many new ones there is given back by `wait`, unless it has ended.
        """
        ...

    def move(self, rows: IntArray, instances: IntArray) -> None:
        """Take requests elsewhere with what they have generated.

        Their KV goes along where the cluster says how (`Cluster.kv_moves`); else it is computed again.
        """
        ...

    def abort(self, rows: IntArray) -> None:
        """End requests without finishing them."""
        ...

    def recall(self, rows: IntArray) -> None:
        """Take requests back, with what they have generated: those that wait inside an instance, and those that run.

        `wait` returns them as they come: what waits at once, what runs when its present step is over. One that ends before
        that has ended, and does not come back.
        """
        ...

    def wait(self, until: float) -> Ended:
        """Let time pass until something happens, but not beyond `until` (which may be infinite)."""
        ...
