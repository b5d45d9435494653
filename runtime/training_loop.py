"""What the pipelines are made of: generate, learn, finish, publish; and the record of each iteration."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic
from typing import Any

from makespan.runtime.busy_time import busy_seconds
from makespan.runtime.iteration import Iteration
from makespan.runtime.rollouts import Rollouts
from makespan.runtime.trainer_service import Step, TrainerService
from makespan.runtime.training_sample import TrainingSample

Interval = tuple[float, float]


class TooStale(AssertionError):
    """A sample was older than its pipeline allows (law L12)."""


@dataclass(slots=True, eq=False)
class _Span:
    """An iteration whose weights are made, and what has yet to be measured of it."""

    step: int
    begin: float
    end: float
    transfer_s: float
    wasted: int


@dataclass(slots=True, eq=False)
class TrainingLoop:
    """One run of a pipeline.

    Parameters
    ----------
    pipeline
        Its name.
    bound
        Versions by which a sample may be older than the weights that it updates.
    generation
        Where batches come from.
    trainer
        Where they go.
    steps
        The steps to make; the weights before the first have its number as their version.
    mini_batch
        Groups that `sync` hands over at once.
    keep
        Whether samples under way survive new weights, or are finished under the old ones first.

    Attributes
    ----------
    reports
        What the trainer says of each step.
    lengths
        Of each step the samples trained on: number, prompt tokens, output tokens.
    """

    pipeline: str
    bound: int
    generation: Rollouts
    trainer: TrainerService
    steps: range
    mini_batch: int = 4
    keep: bool = True
    reports: dict[int, dict[str, Any]] = field(default_factory=dict)
    lengths: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    _staleness: dict[int, Counter[int]] = field(default_factory=dict)
    _trained: list[Interval] = field(default_factory=list)
    _spans: list[_Span] = field(default_factory=list)
    _ended: float = field(default_factory=monotonic)
    _wasted: int = 0

    def begin(self) -> None:
        """Start the clock of the first iteration."""
        self._ended = monotonic()

    def rollouts(self, step: int) -> Iterator[list[TrainingSample]]:
        """Generate the batch of a step and give its groups as they are complete."""
        return self.generation.groups(step)

    def mini_batches(self, step: int) -> Iterator[list[list[TrainingSample]]]:
        """Generate the batch of a step and give its groups so many at a time."""
        groups = self.rollouts(step)
        while some := list(islice(groups, self.mini_batch)):
            yield some

    def learn(self, groups: Sequence[Sequence[TrainingSample]], step: int) -> None:
        """Hand groups to the trainer; refuses a sample that is older than the pipeline allows."""
        count = self._staleness.setdefault(step, Counter())
        taken = self.lengths.setdefault(step, [])
        for sample in (sample for group in groups for sample in group):
            if not 0 <= step - sample.version <= self.bound:
                raise TooStale(
                    f"{self.pipeline} must train on samples at most {self.bound} versions old, "
                    f"got {step - sample.version} for sample {sample.number}"
                )
            count[step - sample.version] += 1
            taken.append((sample.number, len(sample.prompt_tokens), len(sample.output_tokens)))
        self.trainer.learn(groups)

    def finish(self, step: int) -> Step:
        """Have the trainer end the step, without waiting."""
        if not self._staleness.get(step):
            reasons = self.generation.failures[-1:] or ["the policy aborted them"]
            raise ValueError(f"a step must have a complete group to train on, got none in step {step}: {reasons[0]}")
        return self.trainer.finish()

    def publish(self, step: Step) -> Iteration:
        """Wait for a step, then until every instance has its weights."""
        service = self.generation.service
        self._note(step, *self.trainer.result(step))
        while service.pool.updating:
            service.pool.wait(1.0)
        return next(self._measured())

    def publish_later(self, step: Step) -> None:
        """Have the weights of a step sent when it is done, from within whatever waits then."""
        self.generation.service.pool.watch(step.done, lambda: self._publish_if_done(step))

    def until_version(self, version: int) -> Iterator[Iteration]:
        """Wait until every instance has weights of at least this version; gives the iterations that have ended."""
        service = self.generation.service
        while service.version < version or (service.pool.updating and service.version <= version):
            service.pool.wait(1.0)
        yield from self._measured()

    def _publish_if_done(self, step: Step) -> None:
        found = self.trainer.result_if_done(step)
        if found is None:
            self.publish_later(step)
        else:
            self._note(step, *found)

    def _note(self, step: Step, done: Any, behind_s: float, weights: Any) -> None:
        service = self.generation.service
        self._trained += [(begin + behind_s, end + behind_s) for begin, end in done.busy]
        self.reports[step.version - 1] = done.report
        wasted = self.generation.wasted_tokens + service.recomputed_tokens
        now = monotonic()
        if self.trainer.by_nccl:
            service.update_by(self.trainer.send, step.version)
        else:
            service.update(weights, step.version, keep=self.keep, wait=False)
        self._spans.append(_Span(step.version - 1, self._ended, now, 0.0, wasted - self._wasted))
        self._ended, self._wasted = now, wasted

    def _measured(self) -> Iterator[Iteration]:
        """Give the iterations that have ended, in order."""
        service = self.generation.service
        taken, service.pool.transfer_s = service.pool.transfer_s, []
        while self._spans:
            span = self._spans.pop(0)
            within = _within(span)
            stays = [within(intervals) for intervals in service.stays]
            seconds, staleness = span.end - span.begin, self._staleness[span.step]
            trained = busy_seconds(within(self._trained))
            yield Iteration(
                pipeline=self.pipeline,
                iteration=span.step,
                seconds=seconds,
                generation_busy_share=min(1.0, busy_seconds([i for stay in stays for i in stay]) / seconds),
                training_busy_share=min(1.0, trained / seconds),
                generation_bubble=max(0.0, 1 - sum(map(busy_seconds, stays)) / (seconds * len(stays))),
                training_bubble=max(0.0, 1 - trained / seconds),
                staleness=tuple(staleness[v] for v in range(self.bound + 1)),
                tokens_wasted=span.wasted,
                samples=staleness.total(),
                transfer_s=max(taken, default=0.0),
            )


def _within(span: _Span) -> Any:
    def clip(intervals: Sequence[Interval]) -> list[Interval]:
        cut = [(max(a, span.begin), min(b, span.end)) for a, b in intervals]
        return [(a, b) for a, b in cut if a < b]

    return clip
