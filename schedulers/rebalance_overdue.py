"""RhymeRL's tail rebalance: requests that have outgrown their history leave a draining instance (arXiv 2508.18588)."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.parts import Moves
from makespan.schedulers.view import NOWHERE, RUNNING, View


@dataclass(frozen=True, slots=True)
class RebalanceOverdue:
    """Among the last of an instance's share, what has generated more than believed moves to the emptiest instance.

    Parameters
    ----------
    last
        Share of an instance's requests that counts as its last: 0.1 in the paper.
    growth
        Times the believed length beyond which a request is overdue. The paper's threshold rests on the history of growth and
        is not known; this value is ours.

    Notes
    -----
    The paper may also defer such a request to the next step; within one stage it moves. It moves only where it then has
    fewer requests beside it, so that nothing moves back and forth. Where the same is believed of all, as without any
    history, no request is overdue.
    """

    last: float = 0.1
    growth: float = 1.5

    def __post_init__(self) -> None:
        if not 0 < self.last <= 1:
            raise ValueError(f"the share of last requests must lie above 0 and not above 1, got {self.last}")
        if not self.growth >= 1:
            raise ValueError(f"the growth of an overdue request must be at least 1, got {self.growth}")

    def move(self, view: View) -> Moves:
        """Return the moves that leave every overdue request with fewer beside it."""
        if int(view.in_flight.max()) < int(view.in_flight.min()) + 2 or not view.arrived.all():
            return Moves.none()
        if view.estimates.point.min() == view.estimates.point.max():
            return Moves.none()
        placed = view.instance[view.instance != NOWHERE]
        share = np.bincount(placed, minlength=len(view.cluster))
        draining = (view.in_flight > 0) & (view.in_flight <= self.last * share)
        if not draining.any():
            return Moves.none()
        overdue = np.flatnonzero(
            (view.state == RUNNING) & draining[view.instance] & (view.generated > self.growth * view.estimates.point)
        )
        load, order = view.in_flight.copy(), view.cluster.by_sequence
        rows, targets = [], []
        for row in overdue[np.argsort(view.requests.sequence[overdue])]:
            source, emptiest = view.instance[row], order[load[order].argmin()]
            if load[emptiest] + 1 < load[source]:
                load[source] -= 1
                load[emptiest] += 1
                rows.append(row)
                targets.append(emptiest)
        return Moves(np.array(rows, dtype=np.int64), np.array(targets, dtype=np.int64))
