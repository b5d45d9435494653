"""StreamRL's skewness-aware dispatching: the long tail gets instances of its own (arXiv 2504.15930, section 5)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import View


@dataclass(frozen=True, slots=True)
class SkewAware:
    """Algorithm 2: split instances between the longest requests and the rest so that a latency model is least.

    Parameters
    ----------
    tail_share
        Share of requests that count as long (the paper's alpha; 0.2 "works well").
    objective
        ``"sum"`` adds the latencies of both groups, as published; ``"max"`` takes the slower, since they run side by
        side.

    Notes
    -----
    Latency of a group (Eq. 2) is ``PTL(BS) * L * ceil(M / BS)`` with M requests per instance, BS the smaller of M and
    the batch limit, and L the 90th percentile of all estimates for the tail, the median for the rest. PTL is the
    step time at BS requests that hold half of their output. What the paper leaves open is filled in plainly: within
    a group requests are dealt out in turn, longest first.
    """

    tail_share: float = 0.2
    objective: Literal["sum", "max"] = "sum"
    places_at_once: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.tail_share < 1:
            raise ValueError(f"the tail share must lie between 0 and 1, got {self.tail_share}")

    def place(self, view: View, rows: IntArray) -> IntArray:
        """Return the instances of the tail and of the rest, dealt out in turn."""
        known = np.flatnonzero(view.arrived & ~view.ended)
        point = view.estimates.point
        longest_first = known[np.lexsort((view.requests.sequence[known], -point[known]))]
        tail = int(self.tail_share * len(known))
        reserved = self._tail_instances(view, longest_first, tail)
        turn = np.empty(len(view.requests), dtype=np.int64)
        turn[longest_first[:tail]] = np.arange(tail) % max(reserved, 1)
        turn[longest_first[tail:]] = reserved + np.arange(len(known) - tail) % (len(view.cluster) - reserved)
        return view.cluster.by_sequence[turn[rows]]

    def _tail_instances(self, view: View, longest_first: IntArray, tail: int) -> int:
        """Return how many instances the tail gets, none when it is empty or there is only one instance."""
        count = len(view.cluster)
        if tail == 0 or count == 1:
            return 0
        point = view.estimates.point[longest_first]
        long, regular = np.percentile(point, [90, 50])
        prompt = float(view.requests.prompt_tokens[longest_first].mean())
        splits = np.arange(1, count)
        latencies = (
            group_latency(view, tail, float(long), prompt, splits),
            group_latency(view, len(longest_first) - tail, float(regular), prompt, count - splits),
        )
        combined = sum(latencies) if self.objective == "sum" else np.maximum(*latencies)
        return int(splits[np.argmin(combined)])


def group_latency(view: View, requests: int, length: float, prompt: float, instances: IntArray) -> FloatArray:
    """Return Eq. 2 in seconds for a group of `requests` on each number of `instances`.

    The instances are taken to be like the first one; `length` and `prompt` are mean tokens.
    """
    first = view.cluster.instances[view.cluster.by_sequence[0]]
    per_instance = -(-requests // instances)
    batch = np.minimum(per_instance, first.max_batch)
    kv_tokens = np.minimum(batch * (prompt + length / 2), first.kv_capacity_tokens)
    latency: FloatArray = first.step_time(batch, kv_tokens) * length * -(-per_instance // batch)
    return latency
