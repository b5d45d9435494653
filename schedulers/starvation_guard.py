"""Requests that have waited too long go ahead of the order (vllm-ltr, arXiv 2408.15792)."""

from dataclasses import dataclass, field

import numpy as np

from makespan.schedulers.parts import HOLD, Placement
from makespan.schedulers.pull import Pull
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class StarvationGuard:
    """Let another placement choose, with those that have waited for `idle_steps` engine steps first.

    Parameters
    ----------
    idle_steps
        Steps without running after which a request is promoted; 200 in vllm-ltr's fairness runs
        (``opt-xxx-starv200-period10``). A step counts as long as one of the slowest instance with a full batch.
    inner
        Who chooses.

    Notes
    -----
    There a promoted request is demoted after 10 steps of running and may be preempted again; here what has started stays.
    Among promoted requests the order holds, so that requests which all arrive at once see no difference.
    """

    idle_steps: int = 200
    inner: Placement = field(default_factory=Pull)

    def __post_init__(self) -> None:
        if self.idle_steps < 1:
            raise ValueError(f"a guard against starvation must allow at least 1 idle step, got {self.idle_steps}")

    @property
    def work_conserving(self) -> bool:
        """Whether the inner placement is."""
        return bool(getattr(self.inner, "work_conserving", False))

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return what the inner placement says of the rows in the new order."""
        step = max(float(i.step_time(i.max_batch)) for i in view.cluster)
        starved = view.now - view.requests.arrival[rows] >= self.idle_steps * step
        if starved.all() or not starved.any():
            return self.inner.place(view, rows)
        reordered = np.concatenate([np.flatnonzero(starved), np.flatnonzero(~starved)])
        where = self.inner.place(view, rows[reordered])
        answer = np.full(len(rows), HOLD, dtype=np.int64)
        answer[reordered[: len(where)]] = where
        return answer
