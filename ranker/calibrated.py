"""Intervals that keep their promise while a stage runs: every promise is held against the length that came."""

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np

from makespan.ranker.conformal import ConformalWindow
from makespan.schedulers.estimates import Estimates, Finished, Information, Watching
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import BoolArray, FloatArray, IntArray


@dataclass(slots=True, eq=False)
class Calibrated:
    """A source whose outer quantiles are moved until as many lengths lie between them as they say.

    A promise is the interval that stood when a request began. Promises are judged in the order in which they were made, and
    none before all earlier ones can be: among the first to finish only the short are found, which would flatter them.

    Parameters
    ----------
    requests
        What is asked for.
    source
        Whose quantiles are moved; its points are left as they are, and so is one that gives no quantiles.
    window
        The misses of the last promises, of this stage or of earlier ones.
    """

    requests: Requests
    source: Information
    window: ConformalWindow
    _estimates: Estimates | None = field(init=False, default=None)
    _raw: Estimates | None = field(init=False, default=None)
    _began: BoolArray = field(init=False)
    _length: IntArray = field(init=False)
    _generated: IntArray = field(init=False)
    _promised: FloatArray = field(init=False)
    _waiting: deque[int] = field(init=False, default_factory=deque)
    _kept: deque[bool] = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.requests)
        self._began = np.zeros(count, dtype=np.bool_)
        self._length = np.zeros(count, dtype=np.int64)
        self._generated = np.zeros(count, dtype=np.int64)
        # Of each request the interval before it was moved, and as it was given.
        self._promised = np.zeros((count, 4))
        self._kept = deque(maxlen=self.window.size)

    @property
    def judged(self) -> int:
        """How many promises `coverage` speaks of."""
        return len(self._kept)

    @property
    def coverage(self) -> float:
        """The share of the last promises, as they were given, that was kept; NaN where none was judged."""
        return float(np.mean(self._kept)) if self._kept else float("nan")

    def estimate(self, requests: Requests) -> Estimates:
        """Return what the source believes, its outer quantiles moved by what the last promises missed."""
        raw = self.source.estimate(requests)
        if self._estimates is None or raw is not self._raw:
            self._raw = raw
            self._estimates = raw if raw.quantiles is None else self._moved(raw, raw.quantiles)
        return self._estimates

    def observe(self, event: Finished) -> None:
        """Let the source learn, and judge the promises that can be."""
        self._promise(event.rows[~self._began[event.rows]])
        self._length[event.rows] = event.output_tokens
        self.source.observe(event)
        while self._waiting and self._length[self._waiting[0]]:
            self._judge(self._waiting.popleft())

    def watch(self, generated: IntArray) -> None:
        """Pass on how far every request has come, and take down what was promised to those that have begun."""
        self._generated = generated
        self._promise(np.flatnonzero((generated > 0) & ~self._began))
        if isinstance(self.source, Watching):
            self.source.watch(generated)

    def _promise(self, rows: IntArray) -> None:
        if not len(rows) or self._raw is None or self._estimates is None or self._raw.quantiles is None:
            return
        given = self._estimates.quantiles
        assert given is not None
        self._began[rows] = True
        self._promised[rows, :2] = np.log(self._raw.quantiles[rows][:, [0, -1]])
        self._promised[rows, 2:] = np.log(given[rows][:, [0, -1]])
        self._waiting.extend(rows[np.argsort(self.requests.sequence[rows])].tolist())

    def _judge(self, row: int) -> None:
        length = np.log(self._length[[row]])
        low, high, given_low, given_high = self._promised[row]
        self.window.observe(np.array([low]), np.array([high]), length)
        # Half a token: quantiles lie between whole numbers.
        self._kept.append(bool(given_low - 0.5 / self._length[row] <= length[0] <= given_high + 0.5 / self._length[row]))

    def _moved(self, raw: Estimates, quantiles: FloatArray) -> Estimates:
        moved = quantiles.copy()
        factor = np.exp(self.window.widening)
        moved[:, 0] = np.minimum(quantiles[:, 0] / factor, moved[:, 1:-1].min(axis=1, initial=np.inf))
        moved[:, -1] = np.maximum(quantiles[:, -1] * factor, moved[:, :-1].max(axis=1))
        least = np.minimum(self._generated + 1, self.requests.max_new_tokens)[:, None]
        moved = np.clip(moved, least, self.requests.max_new_tokens[:, None])
        ended = self._length > 0
        moved[ended] = quantiles[ended]
        return replace(raw, quantiles=moved)
