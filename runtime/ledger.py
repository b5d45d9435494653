"""The books of many iterations: which sample is where, what it has generated under which weights, what became of it.

What holds for every rule that keeps them:
- a sample is trained on once or given up, and every prompt in its turn (L1);
- tokens generated = delivered + wasted + kept for later (L2).
"""

from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from makespan.runtime.engine import Timeline
from makespan.runtime.engine_state import Records
from makespan.runtime.open_samples import SAMPLE, Issued, check_plan, oldest_prompts, oldest_samples, ready_s
from makespan.runtime.prompt_stream import PromptStream
from makespan.runtime.round_record import Step
from makespan.schedulers.backlog import NEVER, Backlog, RoundPlan
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import BoolArray, FloatArray, IntArray


@dataclass(slots=True, eq=False)
class Ledger:
    """The samples that are open.

    Parameters
    ----------
    stream
        The prompts.
    prompts, responses
        What a training step wants.
    by_sample
        Whether a step consists of any samples rather than of whole prompts.
    in_order
        Whether steps are strictly in the order of issue.
    slots
        Batch slots of the cluster.
    """

    stream: PromptStream
    prompts: int
    responses: int
    by_sample: bool
    in_order: bool
    slots: int
    version: int = 0
    """Steps of training that have begun."""
    generated_tokens: int = 0
    wasted_tokens: int = 0
    dropped: list[int] = field(default_factory=list)
    _issued: int = 0
    _numbers: int = 0
    _trained: int = 0
    _samples: Any = field(default_factory=lambda: np.zeros(0, dtype=SAMPLE))
    _versions: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    _opened: IntArray = field(init=False)
    _draws: IntArray = field(init=False)

    def __post_init__(self) -> None:
        for name in ("prompts", "responses"):
            if getattr(self, name) < 1:
                raise ValueError(f"a training step must want at least 1 of {name}, got {getattr(self, name)}")
        self._opened = np.zeros(len(self.stream), dtype=np.int64)
        self._draws = np.zeros(len(self.stream), dtype=np.int64)

    @property
    def left(self) -> int:
        """Prompts that have never been issued."""
        return len(self.stream) - self._issued

    @property
    def samples(self) -> Records:
        """The open samples."""
        records: Records = self._samples
        return records

    @property
    def buffered_tokens(self) -> int:
        """Tokens kept of open samples."""
        return int(self._samples["generated"].sum())

    @property
    def over(self) -> bool:
        """Whether the epoch has ended."""
        return not self.left and not len(self._samples)

    def _wanted(self) -> int:
        """Return how many prompts, or samples, the next step consists of."""
        if self.by_sample:
            return min(self.prompts * self.responses, len(self._samples) + self.left * self.responses)
        return min(self.prompts, len(np.unique(self._samples["prompt"])) + self.left)

    def backlog(self, version: int | None = None) -> Backlog:
        """Return what a rule sees where the weights are of `version`, the latest where it is None."""
        samples = self._samples
        return Backlog(
            version=self.version if version is None else version,
            prompts=self.prompts,
            responses=self.responses,
            wanted=min(self.prompts, len(np.unique(samples["prompt"])) + self.left),
            left=self.left,
            trained=self._trained,
            slots=self.slots,
            cap=self.stream.cap,
            prompt=samples["prompt"].copy(),
            generated=samples["generated"].copy(),
            finished=samples["finished"].copy(),
            opened=self._opened[samples["prompt"]],
        )

    def issue(self, plan: RoundPlan, version: int | None = None) -> Issued | None:
        """Return the requests of a round, None where there are none; samples of new prompts become rows.

        `version` is that of the weights, the latest where it is None.
        """
        check_plan(plan, self._samples, self.left, self.responses)
        chosen = self._samples["number"][plan.rows]
        gone = np.isin(self._samples["prompt"], plan.dropped)
        self.dropped += plan.dropped.tolist()
        self._remove(gone)
        self._opened[self._issued : self._issued + plan.fresh] = self.version if version is None else version
        self._add(plan.fresh, plan.samples)
        new = np.arange(len(self._samples) - plan.fresh * plan.samples, len(self._samples))
        rows = np.concatenate([np.searchsorted(self._samples["number"], chosen), new])
        if not len(rows):
            return None
        mine = self._samples[rows]
        left = self.stream.length(mine["prompt"], mine["draw"]) - mine["generated"]
        output = left if plan.budget is None else np.minimum(left, plan.budget)
        requests = Requests.of(
            self.stream.prompt_tokens[mine["prompt"]] + mine["generated"],
            self.stream.cap - mine["generated"],
            group=mine["prompt"],
        )
        return Issued(rows, requests, output, output == left)

    def _add(self, prompts: int, samples: int) -> None:
        first, count = self._issued, prompts * samples
        new: Any = np.zeros(count, dtype=SAMPLE)
        new["number"] = self._numbers + np.arange(count)
        new["prompt"] = np.repeat(np.arange(first, first + prompts), samples)
        new["draw"] = np.tile(np.arange(samples), prompts)
        new["ended_s"] = inf
        new["born"] = NEVER
        self._samples = np.concatenate([self._samples, new])
        self._draws[first : first + prompts] = samples
        self._issued += prompts
        self._numbers += count

    def note(self, issued: Issued, requests: IntArray, moments_s: ArrayLike) -> None:
        """Take down when these requests of a round have ended by themselves."""
        whole = issued.whole[requests]
        done = issued.rows[requests[whole]]
        self._samples["finished"][done] = True
        self._samples["ended_s"][done] = np.broadcast_to(moments_s, requests.shape)[whole]

    def close(
        self, issued: Issued, timeline: Timeline, starts_s: float | FloatArray, version: int | IntArray | None = None
    ) -> None:
        """Take down what a round has generated.

        Parameters
        ----------
        issued, timeline
            The round.
        starts_s
            When it started, for each request or for all.
        version
            Of the weights that generated, for each request or for all; the present one where it is None.
        """
        done = np.flatnonzero(timeline.finished)
        self.note(issued, done, np.broadcast_to(starts_s, timeline.ended.shape)[done] + timeline.ended[done])
        versions = np.broadcast_to(np.asarray(self.version if version is None else version), issued.rows.shape)
        for row, tokens, made_by in zip(issued.rows.tolist(), timeline.generated.tolist(), versions.tolist(), strict=True):
            if tokens:
                self._versions.setdefault(int(self._samples["number"][row]), []).append((made_by, tokens))
                if self._samples["born"][row] == NEVER:
                    self._samples["born"][row] = made_by
        self._samples["generated"][issued.rows] += timeline.generated
        self.generated_tokens += int(timeline.generated.sum())

    def ready_s(self) -> float:
        """Return the moment at which whole prompts enough for the next step have finished, infinite where they have not."""
        return ready_s(self._samples, self.responses, self._wanted())

    def batch(self, now_s: float = inf) -> IntArray | None:
        """Return the rows that the next step is trained on, None while too few have ended by then."""
        wanted = self._wanted()
        if not wanted:
            return None
        if self.by_sample:
            return oldest_samples(self._samples, wanted, now_s)
        return oldest_prompts(self._samples, self.responses, wanted, now_s, in_order=self.in_order)

    def output_tokens(self, rows: IntArray) -> IntArray:
        """Return the lengths of finished rows."""
        mine = self._samples[rows]
        return self.stream.length(mine["prompt"], mine["draw"])

    def sequence_tokens(self, rows: IntArray) -> IntArray:
        """Return prompt and output tokens of finished rows, what the trainer computes on."""
        prompts: IntArray = self._samples["prompt"][rows]
        return self.stream.prompt_tokens[prompts] + self.output_tokens(rows)

    def train(self, rows: IntArray, start_s: float, end_s: float, version: int | None = None) -> Step:
        """Train on `rows`: they leave, with whatever else was issued of their prompts; the version rises.

        `version` is that of the weights that are updated, the present one where it is None.
        """
        updated = self.version if version is None else version
        mine = self._samples[rows]
        lags: dict[int, int] = {}
        for number in mine["number"].tolist():
            for made_by, tokens in self._versions[number]:
                lags[updated - made_by] = lags.get(updated - made_by, 0) + tokens
        step = Step(
            start_s=start_s,
            end_s=end_s,
            prompt=mine["prompt"].copy(),
            output_tokens=self.output_tokens(rows),
            staleness=updated - mine["born"],
            tokens_by_lag=tuple(lags.get(lag, 0) for lag in range(max(lags) + 1)),
            waited=updated - self._opened[mine["prompt"]],
        )
        gone = np.zeros(len(self._samples), dtype=np.bool_)
        gone[rows] = True
        trained = int(mine["generated"].sum())
        if not self.by_sample:
            gone |= np.isin(self._samples["prompt"], mine["prompt"])
        self._trained += len(np.unique(mine["prompt"])) * (not self.by_sample)
        self._remove(gone)
        self.wasted_tokens -= trained
        self.version = updated + 1
        return step

    def forget(self) -> None:
        """Throw away what open samples have generated: each starts again from scratch."""
        started = np.flatnonzero(self._samples["generated"] > 0)
        self.wasted_tokens += int(self._samples["generated"][started].sum())
        for row in started.tolist():
            if self.stream.redraws:
                prompt = self._samples["prompt"][row]
                self._samples["draw"][row] = self._draws[prompt]
                self._draws[prompt] += 1
            self._versions.pop(int(self._samples["number"][row]))
        self._samples["generated"][started] = 0
        self._samples["finished"][started] = False
        self._samples["ended_s"][started] = inf
        self._samples["born"][started] = NEVER

    def _remove(self, gone: BoolArray) -> None:
        self.wasted_tokens += int(self._samples["generated"][gone].sum())
        for number in self._samples["number"][gone].tolist():
            self._versions.pop(number, None)
        self._samples = self._samples[~gone]
