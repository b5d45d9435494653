"""When a trainer computes what: micro-batches from samples that arrive one by one."""

from dataclasses import dataclass, replace

import numpy as np

from makespan.schedulers.training_time import TrainingTime
from makespan.schedulers.types import FloatArray


@dataclass(frozen=True, slots=True)
class Trained:
    """One iteration of training.

    Parameters
    ----------
    start, end
        Seconds at which its first micro-batch started and its optimiser step ended.
    busy_s
        Seconds of computing.
    micro_batches
        How many there were.
    """

    start: float
    end: float
    busy_s: float
    micro_batches: int


def train_dynamic(time: TrainingTime, ready: FloatArray, tokens: FloatArray, free: float) -> Trained:
    """Train on samples as they become ready: dynamic-batch pipelining (StreamRL, section 6).

    Whenever the trainer is free it takes the samples that have arrived, as many as fill its GPUs. It starts when they
    do, or when no more are to come.

    Parameters
    ----------
    time
        The trainer.
    ready, tokens
        Seconds at which each sample is with the trainer; its tokens with the prompt. Shape (n,).
    free
        Seconds from which the trainer may start.
    """
    order = np.argsort(ready, kind="stable")
    arrived, filled, work = ready[order], np.cumsum(tokens[order]), time.work(tokens[order])
    now, busy, taken, batches, start, first = free, 0.0, 0, 0, 0.0, 0.0
    while taken < len(order):
        # The first sample that fills the GPUs, or the last there is.
        full = min(int(np.searchsorted(filled, first + time.micro_batch_tokens, side="left")), len(order) - 1)
        now = max(now, float(arrived[full]))
        start = now if batches == 0 else start
        seconds = time.micro_batch(work[taken : full + 1])
        now, busy, taken, batches, first = now + seconds, busy + seconds, full + 1, batches + 1, float(filled[full])
    return Trained(start, now + time.step_s, busy + time.step_s, batches)


def train_mini_batches(time: TrainingTime, ready: FloatArray, tokens: FloatArray, free: float, parts: int) -> Trained:
    """Train on mini-batches, each when all of it is ready: the usual pipelining, with a size set by hand.

    The samples are cut into `parts` of nearly equal number in the order in which they become ready, which is the
    kindest cut there is; each part is then trained in micro-batches.
    """
    if not 1 <= parts <= len(ready):
        raise ValueError(f"mini-batches must be 1 to {len(ready)}, as many as there are samples, got {parts}")
    order = np.argsort(ready, kind="stable")
    done = Trained(0.0, free, 0.0, 0)
    start = None
    for part in np.array_split(order, parts):
        together = np.full(len(part), ready[part].max())
        one = train_dynamic(replace(time, step_s=0.0), together, tokens[part], done.end)
        start = one.start if start is None else start
        done = Trained(start, one.end, done.busy_s + one.busy_s, done.micro_batches + one.micro_batches)
    return replace(done, end=done.end + time.step_s, busy_s=done.busy_s + time.step_s)


def stage_seconds(time: TrainingTime, tokens: FloatArray) -> float:
    """Return seconds of training on samples that are all there."""
    return train_dynamic(time, np.zeros(len(tokens)), tokens, 0.0).end
