"""How generation and training share time: the five pipelines, simulated from what each stage takes.

Iteration i trains on batch i and makes weights i + 1. With G for the generation of a batch, T for training on it and W
for moving weights:

=================  =====================================================  ============================================
pipeline           generation of batch j starts                           training on batch i
=================  =====================================================  ============================================
``colocated``      after T(j-1) and W, on all GPUs                        after G(i), on all GPUs
``sync``           after T(j-1) and W                                     on mini-batches of G(i), each when complete
``stream``         after T(j-1) and W                                     on samples of G(i) as they end
``one_step_async`` with T(j-1), after G(j-1), T(j-2) and W                with G(i+1), on all of batch i
``fully_async``    after G(j-1), and T(j-1-staleness) with its W          after T(i-1), on samples as they end
=================  =====================================================  ============================================

(StreamRL, arXiv 2504.15930, section 6 and Figure 5.) Only in ``fully_async`` is W off the critical path: training never
waits for it, and generation only where it has caught up.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from makespan.runtime.busy_time import busy_seconds
from makespan.runtime.generated import Generated
from makespan.runtime.iteration import PIPELINES, Iteration
from makespan.schedulers.training_order import Trained, train_dynamic, train_mini_batches
from makespan.schedulers.training_time import TrainingTime
from makespan.schedulers.types import FloatArray

Stage = Callable[[int], Generated]
Trainer = Callable[[int], TrainingTime]
Transfer = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline and its settings.

    Parameters
    ----------
    name
        One of `PIPELINES`.
    mini_batches
        Into how many parts ``sync`` cuts a batch.
    staleness
        Versions that ``fully_async`` may let samples be older than the weights they update, at least 1.
    handover
        When ``fully_async`` gives an instance the next batch: once the whole ``"stage"`` has ended, as in the paper, or once
        the ``"instance"`` itself has. Either way no sample mixes versions of the weights.
    """

    name: str
    mini_batches: int = 4
    staleness: int = 1
    handover: Literal["stage", "instance"] = "stage"

    def __post_init__(self) -> None:
        if self.name not in PIPELINES:
            raise ValueError(f"a pipeline must be one of {', '.join(PIPELINES)}, got {self.name!r}")
        if self.mini_batches < 1:
            raise ValueError(f"mini-batches must be at least 1, got {self.mini_batches}")
        if self.staleness < 1:
            raise ValueError(f"the staleness of an asynchronous pipeline must be at least 1, got {self.staleness}")

    @property
    def ahead(self) -> int:
        """Batches that are generated ahead, which is also the bound on staleness."""
        return {"one_step_async": 1, "fully_async": self.staleness}.get(self.name, 0)


@dataclass(slots=True, eq=False)
class _Course:
    """What has happened: stages of generation with the start of each of their instances, training, weights moved."""

    stages: list[Generated] = field(default_factory=list)
    starts: list[FloatArray] = field(default_factory=list)
    trained: list[Trained] = field(default_factory=list)
    moved: list[float] = field(default_factory=list)

    def ends(self, j: int) -> FloatArray:
        """When each instance ended its part of batch `j`."""
        return self.starts[j] + self.stages[j].instance_s

    def trained_by(self, i: int) -> float:
        """When iteration `i` ended; 0 before the first."""
        return self.trained[i].end if i >= 0 else 0.0

    def barrier(self, i: int) -> float:
        """When ``one_step_async`` starts training on batch `i` and generating the next one."""
        return self.moved[i - 1] if i > 0 else float(self.ends(0).max())


def simulate_pipeline(
    pipeline: Pipeline, iterations: int, generate: Stage, trainer: Trainer, transfer_s: Transfer, sample_s: float = 0.0
) -> Iterator[Iteration]:
    """Run `iterations` iterations and give the record of each.

    Parameters
    ----------
    pipeline
        Which pipeline.
    iterations
        How many, at least 1.
    generate, trainer, transfer_s
        The generation of batch j on its own, the trainer of iteration i, and the seconds in which the weights it makes reach
        every instance. Asked once for each number, in order, when it is due: an elastic cluster may answer with what it has
        become by then.
    sample_s
        Seconds from the end of a sample until the trainer has it, not negative.
    """
    if iterations < 1:
        raise ValueError(f"a pipeline must run at least 1 iteration, got {iterations}")
    if not sample_s >= 0:
        raise ValueError(f"a sample must take at least 0 s to the trainer, got {sample_s}")
    course = _Course()
    for i in range(iterations):
        while len(course.stages) < min(iterations, i + pipeline.ahead + 1):
            _generate(pipeline, course, generate(len(course.stages)))
        course.trained.append(_train(pipeline, course, i, trainer(i), sample_s))
        begin = max([course.trained_by(i), *course.moved[-1:]])
        if pipeline.name == "one_step_async" and i + 1 < len(course.stages):
            begin = max(begin, float(course.ends(i + 1).max()))
        seconds = transfer_s(i)
        course.moved.append(begin + seconds)
        yield _record(pipeline, course, i, seconds)


def _generate(pipeline: Pipeline, course: _Course, stage: Generated) -> None:
    """Let the next batch start."""
    j = len(course.stages)
    begin = 0.0
    if pipeline.name == "one_step_async" and j > 0:
        begin = course.barrier(j - 1)
    elif j > pipeline.ahead:
        begin = course.moved[j - 1 - pipeline.ahead]
    starts = np.full(len(stage.useful_s), begin)
    if pipeline.name == "fully_async" and j > 0:
        before = course.ends(j - 1)
        if pipeline.handover == "stage":
            starts = np.maximum(starts, before.max())
        else:
            shared = min(len(before), len(starts))
            starts[:shared] = np.maximum(starts[:shared], before[:shared])
    course.stages.append(stage)
    course.starts.append(starts)


def _train(pipeline: Pipeline, course: _Course, i: int, time: TrainingTime, sample_s: float) -> Trained:
    """Train on batch `i`."""
    stage = course.stages[i]
    ready = course.starts[i][stage.instance] + stage.ready_s + sample_s
    free = course.trained_by(i - 1)
    if pipeline.name == "sync":
        return train_mini_batches(time, ready, stage.tokens, free, min(pipeline.mini_batches, len(ready)))
    if pipeline.name == "colocated":
        free = float(ready.max())
    elif pipeline.name == "one_step_async":
        free = max(course.barrier(i), float(ready.max()))
    if pipeline.name in ("colocated", "one_step_async"):
        ready = np.full(len(ready), free)
    return train_dynamic(time, ready, stage.tokens, free)


def _record(pipeline: Pipeline, course: _Course, i: int, transfer_s: float) -> Iteration:
    begin, end = course.trained_by(i - 1), course.trained_by(i)
    stage, busy_s = course.stages[i], course.trained[i].busy_s
    span = end - begin
    useful, active = 0.0, []
    for j in range(i, len(course.stages)):
        first, last = course.starts[j], course.ends(j)
        inside = np.clip(np.minimum(last, end) - np.maximum(first, begin), 0, None)
        useful += float((course.stages[j].useful_s * inside / np.maximum(last - first, 1e-300)).sum())
        active += [(max(a, begin), min(b, end)) for a, b in zip(first, last, strict=True) if min(b, end) > max(a, begin)]
    # The weights that an instance had when it started on the batch.
    version = np.searchsorted(course.moved, course.starts[i], side="right")
    return Iteration(
        pipeline=pipeline.name,
        iteration=i,
        seconds=span,
        generation_busy_share=min(1.0, busy_seconds(active) / span),
        training_busy_share=min(1.0, busy_s / span),
        generation_bubble=float(np.clip(1 - useful / (span * len(version)), 0, 1)),
        training_bubble=max(0.0, 1 - busy_s / span),
        staleness=tuple(np.bincount(i - version[stage.instance]).tolist()),
        tokens_wasted=stage.tokens_wasted,
        samples=len(stage.ready_s),
        transfer_s=transfer_s,
    )
