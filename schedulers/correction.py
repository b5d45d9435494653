"""Our own rebalance: time slices while requests wait, and moves once none does."""

from dataclasses import dataclass, field

from makespan.schedulers.overtake import Overtake
from makespan.schedulers.parts import Moves
from makespan.schedulers.respread import Respread
from makespan.schedulers.view import NOWHERE, OUTSIDE, View


@dataclass(frozen=True, slots=True)
class Correction:
    """Let what may be long overtake while requests wait outside; spread what runs anew when none waits any more."""

    overtake: Overtake = field(default_factory=Overtake)
    respread: Respread = field(default_factory=Respread)

    def move(self, view: View) -> Moves:
        """Return what the one part or the other moves."""
        waits = (view.state == OUTSIDE) & (view.instance == NOWHERE) & view.arrived & ~view.ended
        return self.overtake.move(view) if waits.any() else self.respread.move(view)
