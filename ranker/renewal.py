"""When enough has happened in a stage for new estimates, each of which lets the dispatcher sort again."""

from dataclasses import dataclass, field

from makespan.schedulers.types import IntArray

_FINISHED = 64
_GROWTH = 17 / 16


@dataclass(slots=True)
class Renewal:
    """Due when a 64th of the unfinished has finished, or 16 tokens have become 17: some hundred times in any stage.

    Parameters
    ----------
    unfinished
        Requests that have not finished.
    """

    unfinished: int
    _news: int = field(init=False, default=0)
    _tokens: int = field(init=False, default=-1)

    def finished(self, count: int) -> None:
        """Take note that so many requests have finished."""
        self.unfinished -= count
        self._news += count

    def due(self, generated: IntArray) -> bool:
        """Return whether to renew now, and then begin to count anew; `generated` are the tokens of every request."""
        tokens = int(generated.sum())
        if self._tokens >= 0 and self._news * _FINISHED <= self.unfinished and tokens <= _GROWTH * self._tokens:
            return False
        self._news, self._tokens = 0, tokens
        return True
