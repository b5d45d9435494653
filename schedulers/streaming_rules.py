"""Rules between versions of the weights where generation does not stop for training: how far it may run ahead."""

from dataclasses import dataclass
from math import ceil, isfinite

import numpy as np

from makespan.schedulers.backlog import Backlog, RoundPlan


@dataclass(frozen=True, slots=True)
class StalenessBounded:
    """At version i at most ``prompts * (i + 1 + eta)`` prompts have ever been issued (AReaL, arXiv 2505.24298, section 5).

    The paper counts from version 1 and writes i + eta; eta = 0 is synchronous. ROLL Flash's asynchronous ratio alpha
    (arXiv 2510.11345) is the same rule with fractions, and gives up what has become too old.

    Parameters
    ----------
    eta
        Steps by which generation may be ahead, not negative.
    expires
        Whether prompts first issued more than ``ceil(eta)`` versions ago are given up.

    Notes
    -----
    The rule counts prompts. It bounds the age of a sample only if batches are trained on in the order of issue, or if what
    is too old is given up: a long sample can be overtaken by any number of short ones.
    """

    eta: float
    expires: bool = False

    def __post_init__(self) -> None:
        if not (isfinite(self.eta) and self.eta >= 0):
            raise ValueError(f"eta must be finite and not negative, got {self.eta}")

    def next_round(self, backlog: Backlog) -> RoundPlan:
        """Return what is unfinished, and new prompts up to the bound."""
        old = self.expires & (backlog.version - backlog.opened > ceil(self.eta))
        rows, dropped = np.flatnonzero(~backlog.finished & ~old), np.unique(backlog.prompt[old])
        issued = backlog.trained + len(backlog.open_prompts) - len(dropped)
        allowed = backlog.prompts * (backlog.version + 1) + ceil(self.eta * backlog.prompts) - issued
        return RoundPlan(rows, min(max(allowed, 0), backlog.left), backlog.responses, dropped=dropped)


@dataclass(frozen=True, slots=True)
class ConstantConcurrency:
    """Every batch slot that becomes free takes a new prompt, whatever the version (PipelineRL, arXiv 2509.19128).

    Parameters
    ----------
    reserve
        Steps' worth of samples held ready beyond the slots, at least 1; what has not started costs nothing.
    """

    reserve: float = 1.0

    def __post_init__(self) -> None:
        if not (isfinite(self.reserve) and self.reserve >= 1):
            raise ValueError(f"a reserve must be at least 1 step of samples and finite, got {self.reserve}")

    def next_round(self, backlog: Backlog) -> RoundPlan:
        """Return what is unfinished, and new prompts to keep every slot busy."""
        rows = backlog.unfinished
        wanted = backlog.slots + ceil(self.reserve * backlog.prompts * backlog.responses)
        fresh = ceil(max(wanted - len(rows), 0) / backlog.responses)
        return RoundPlan(rows, min(fresh, backlog.left), backlog.responses)
