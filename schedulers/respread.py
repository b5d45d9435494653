"""Moving what runs: our own correction of shares that have come apart."""

from dataclasses import dataclass

import numpy as np

from makespan.schedulers.finish_model import FinishModel, Work, models_of
from makespan.schedulers.finish_together import finishes
from makespan.schedulers.parts import Moves
from makespan.schedulers.remaining import believed
from makespan.schedulers.types import FloatArray, IntArray
from makespan.schedulers.view import QUEUED, RUNNING, View


@dataclass(frozen=True, slots=True)
class Respread:
    """Move requests from the instance that would end last to the one that would end first, if that pays.

    Moves are found one after the other and made together, if together they bring the end, computed through for lengths drawn
    from what is believed, nearer by `gain`. What a move costs, computing the request's KV anew, is counted.

    Parameters
    ----------
    gain
        Least share of the time left that must be saved.
    every
        It is considered at every so many finishes.
    most, tries, draws
        Most moves at once; requests tried for each; how often lengths are drawn.
    """

    gain: float = 0.02
    every: int = 16
    most: int = 8
    tries: int = 4
    draws: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.gain < 1:
            raise ValueError(f"the gain that a correction must bring lies between 0 and 1, got {self.gain}")
        for name in ("every", "most", "tries", "draws"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def move(self, view: View) -> Moves:
        """Return the moves that pay together."""
        if len(view.cluster) == 1 or view.ended.sum() % self.every:
            return Moves.none()
        by_sequence = view.cluster.by_sequence
        view = view.only(by_sequence)
        inside = np.flatnonzero((view.state == RUNNING) | (view.state == QUEUED))
        models = models_of(view.cluster)
        ends = finishes(view, models, inside)
        if ends.max() <= (1 + self.gain) * ends.mean():
            return Moves.none()
        belief = believed(view, inside)
        tokens = belief.scenarios(view.requests.sequence[inside], self.draws)
        order = np.lexsort((view.requests.sequence[inside], -tokens.mean(axis=0)))
        # Where lengths are not certain nobody is sent to queue: behind one longer than was thought it doubles the stage.
        room = np.full(len(models), len(inside)) if belief.certain else view.cluster.max_batch
        moves = self._greedy(view, models, inside[order], tokens[:, order], room)
        return Moves(moves.rows, by_sequence[moves.instances])

    def _greedy(self, view: View, models: list[FinishModel], rows: IntArray, tokens: FloatArray, room: IntArray) -> Moves:
        context = (view.requests.prompt_tokens[rows] + view.generated[rows]).astype(np.float64)
        start, running = view.instance[rows], view.state[rows] == RUNNING
        where = start.copy()

        def finish(i: int) -> FloatArray:
            mine = np.flatnonzero(where == i)
            prefill = np.where(running[mine] & (start[mine] == i), 0.0, context[mine])
            return np.array([models[i].finish(Work(drawn[mine], context[mine], prefill)) for drawn in tokens])

        ends = np.array([finish(i) for i in range(len(models))])
        before = best = float(ends.max(axis=0).mean())
        for _ in range(self.most):
            means = ends.mean(axis=1)
            last, first = int(means.argmax()), int(means.argmin())
            if np.count_nonzero(where == first) >= room[first]:
                break
            mine = np.flatnonzero(where == last)
            others = np.delete(ends, (first, last), axis=0).max(axis=0, initial=0.0)
            better = None
            for row in mine[np.unique(np.linspace(0, len(mine) - 1, self.tries).astype(np.int64))].tolist():
                where[row] = first
                found = finish(last), finish(first)
                where[row] = last
                end = float(np.maximum(others, np.maximum(*found)).mean())
                if end < best:
                    best, better = end, (row, found)
            if better is None:
                break
            where[better[0]] = first
            ends[last], ends[first] = better[1]
        if best > (1 - self.gain) * before:
            return Moves.none()
        moved = np.flatnonzero(where != start)
        return Moves(rows[moved], where[moved])
