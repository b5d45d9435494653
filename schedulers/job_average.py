"""What vllm-ascend's batch-job-aware scheduler believes: one average length for each job."""

from dataclasses import dataclass, field

import numpy as np

from makespan.schedulers.estimates import Estimates, Finished
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import FloatArray, IntArray


@dataclass(slots=True, eq=False)
class JobAverage:
    """An exponentially weighted average of the lengths that have finished in a job, its first one to begin with.

    Parameters
    ----------
    requests
        What is asked for. A job is a group: it is what shares a prompt template there, and a prompt here.
    weight
        Of a new length against the average so far.
    cold_tokens
        What is believed of a job of which nothing has finished.
    samples
        How many lengths of a job are taken note of.

    Notes
    -----
    Defaults are those of vllm-ascend, ``BatchJobAwareScheduler`` (pull request 12240). There it sees one engine; here all.
    """

    requests: Requests
    weight: float = 0.1
    cold_tokens: int = 128
    samples: int = 10
    _group: IntArray = field(init=False)
    _average: FloatArray = field(init=False)
    _count: IntArray = field(init=False)
    _estimates: Estimates | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            raise ValueError(f"the weight of a new length must lie above 0 and not above 1, got {self.weight}")
        if self.cold_tokens < 1:
            raise ValueError(f"the length of a job that is not known must be at least 1 token, got {self.cold_tokens}")
        if self.samples < 1:
            raise ValueError(f"an average must take note of at least 1 length, got {self.samples}")
        groups, self._group = np.unique(self.requests.group, return_inverse=True)
        self._average = np.full(len(groups), float(self.cold_tokens))
        self._count = np.zeros(len(groups), dtype=np.int64)

    def estimate(self, requests: Requests) -> Estimates:
        """Return the average of each request's job, rounded down as there."""
        if self._estimates is None:
            self._estimates = Estimates(np.maximum(np.floor(self._average), 1.0)[self._group], "job average")
        return self._estimates

    def observe(self, event: Finished) -> None:
        """Take the lengths in, one after the other in the order of the counters."""
        order = np.argsort(self.requests.sequence[event.rows])
        for row, tokens in zip(event.rows[order].tolist(), event.output_tokens[order].tolist(), strict=True):
            job = self._group[row]
            if self._count[job] == self.samples:
                continue
            self._count[job] += 1
            share = 1.0 if self._count[job] == 1 else self.weight
            self._average[job] = share * tokens + (1 - share) * self._average[job]
            self._estimates = None
