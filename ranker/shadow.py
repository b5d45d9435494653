"""Shadow mode: a ranker runs beside the policy, and decides only once it has ranked better than chance."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from makespan.ranker.metrics import tau
from makespan.ranker.parameters import Parameters
from makespan.schedulers.estimates import Estimates, Finished, Information
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import FloatArray, IntArray

# One in a thousand useless rankers passes.
_CERTAIN = 3.09


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a ranker did on prompts it had not been trained on.

    Parameters
    ----------
    tau
        Kendall's tau-b against the mean length of each prompt.
    deviations
        How many standard deviations that is above chance.
    """

    tau: float
    deviations: float

    @property
    def proven(self) -> bool:
        """Whether chance does not explain it."""
        return self.deviations >= _CERTAIN

    def __str__(self) -> str:
        how = "better than chance" if self.proven else "not shown to be better than chance"
        return f"{how} (tau {self.tau:.3f}, {self.deviations:.1f} standard deviations)"

    def parameters(self) -> Parameters:
        """Return what is saved."""
        return Parameters({"tau": np.array([self.tau, self.deviations])})

    @classmethod
    def of(cls, saved: Parameters) -> Self:
        """Rebuild from what was saved."""
        return cls(*saved.array("tau").tolist())


def verdict(score: FloatArray, length: FloatArray) -> Verdict:
    """Judge scores by the lengths that came, one for each prompt; the deviation of tau under chance is Kendall's."""
    count = len(score)
    found = tau(score, length) if count > 1 else float("nan")
    if np.isnan(found):
        return Verdict(0.0, 0.0)
    chance = np.sqrt(2 * (2 * count + 5) / (9 * count * (count - 1)))
    return Verdict(found, float(found / chance))


@dataclass(slots=True, eq=False)
class Shadowed:
    """A ranker's belief where it has proved itself, and what needs no ranker where it has not.

    Parameters
    ----------
    requests
        What is asked for.
    ranker, fallback
        Both observe everything; one is heard.
    score
        What the ranker predicted for each request before the stage, shape (n,).
    trusted
        Whether it is heard from the start.
    recent
        How many closed groups it is judged by.
    """

    requests: Requests
    ranker: Information
    fallback: Information
    score: FloatArray
    trusted: bool
    recent: int = 256
    _group: IntArray = field(init=False)
    _left: IntArray = field(init=False)
    _tokens: FloatArray = field(init=False)
    _closed: list[tuple[float, float]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        _, self._group, self._left = np.unique(self.requests.group, return_inverse=True, return_counts=True)
        self._tokens = np.zeros(len(self._left))

    def estimate(self, requests: Requests) -> Estimates:
        """Return what the one that is heard believes."""
        return (self.ranker if self.trusted else self.fallback).estimate(requests)

    def observe(self, event: Finished) -> None:
        """Let both learn; a group that has closed is evidence for or against the ranker."""
        self.ranker.observe(event)
        self.fallback.observe(event)
        for row, tokens in zip(event.rows.tolist(), event.output_tokens.tolist(), strict=True):
            group = self._group[row]
            self._tokens[group] += tokens
            self._left[group] -= 1
            if self._left[group] == 0:
                self._closed.append((float(self.score[row]), float(self._tokens[group])))
                self._judge()

    def watch(self, generated: IntArray) -> None:
        """Pass on how far every request has come."""
        for source in (self.ranker, self.fallback):
            watch = getattr(source, "watch", None)
            if watch is not None:
                watch(generated)

    def _judge(self) -> None:
        """Judge anew after every 32 closed groups; who is heard is silenced only when chance explains it easily."""
        if len(self._closed) % 32:
            return
        score, tokens = np.array(self._closed[-self.recent :]).T
        found = verdict(score, tokens)
        self.trusted = found.deviations > 1 if self.trusted else found.proven
