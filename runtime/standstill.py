"""A policy that would decide for ever without an end."""

from math import inf

from makespan.runtime.engine import Ended
from makespan.runtime.policy_answers import PolicyError

DECISIONS_AT_ONCE = 1000


class Standstill:
    """Counts decisions at one moment after which nothing ends, as when a policy places and takes back the same requests."""

    def __init__(self) -> None:
        self._at = -inf
        self._decisions = 0

    def note(self, ended: Ended, now: float) -> None:
        """Take note of what a decision has led to; refuse the thousandth at one moment that has led to nothing."""
        self._decisions = 0 if len(ended.rows) or now > self._at else self._decisions + 1
        self._at = now
        if self._decisions == DECISIONS_AT_ONCE:
            raise PolicyError(
                f"a policy must let time pass, got {DECISIONS_AT_ONCE:,} decisions at {now:g} s after which nothing ended"
            )
