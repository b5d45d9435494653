"""Tool calls of simulated requests: who is away until when, and how its next turn begins."""

from heapq import heappop, heappush
from typing import Any

import numpy as np

from makespan.runtime.engine_state import NEVER, Records
from makespan.schedulers.step_time import PICOSECONDS
from makespan.schedulers.turns import Turns
from makespan.schedulers.types import IntArray
from makespan.schedulers.view import AWAY, OUTSIDE


class ToolCalls:
    """The requests that are away.

    Parameters
    ----------
    turns
        Of every request.
    requests
        Their records; each is told the end of its first turn here, and of the next one when its tool has answered.
    """

    def __init__(self, turns: Turns, requests: Records) -> None:
        self._turns = turns
        self._requests: Any = requests
        self._next_turn = turns.first[:-1].copy()
        self._gap_ps = np.rint(turns.gap_s * PICOSECONDS).astype(np.int64)
        self._away: list[tuple[int, int]] = []
        self.any_calls = len(turns.tokens) > len(requests)
        """Whether any tool is ever called."""
        for name in ("turn_end", "stop"):
            self._requests[name] = turns.tokens[self._next_turn]

    def call(self, rows: IntArray, now: int) -> None:
        """Let the tools of requests begin their work."""
        for row in rows.tolist():
            heappush(self._away, (now + int(self._gap_ps[self._next_turn[row]]), row))

    def next_answer(self) -> int:
        """Return when the next tool answers."""
        while self._away and self._requests["state"][self._away[0][1]] != AWAY:
            # It was aborted meanwhile.
            heappop(self._away)
        return self._away[0][0] if self._away else NEVER

    def answered(self, now: int) -> IntArray:
        """Return the requests whose tools have answered by now; what they said is part of their prompts from now on."""
        rows: list[int] = []
        while self.next_answer() <= now:
            rows.append(heappop(self._away)[1])
        for row in rows:
            self._requests["prompt"][row] += self._turns.added_tokens[self._next_turn[row]]
            self._next_turn[row] += 1
            self._requests["turn_end"][row] += self._turns.tokens[self._next_turn[row]]
            self._requests["state"][row] = OUTSIDE
        return np.array(rows, dtype=np.int64)
