"""How generation and training share time on real engines: five loops (StreamRL, arXiv 2504.15930, section 6 and Figure 5).

Batch i is trained into weights i + 1. The bound on staleness is in `STALENESS`, and every sample is held to it (law L12).
"""

from collections.abc import Callable, Iterator

from makespan.runtime.iteration import Iteration
from makespan.runtime.training_loop import TrainingLoop

Pipeline = Callable[[TrainingLoop], Iterator[Iteration]]


def colocated(loop: TrainingLoop) -> Iterator[Iteration]:
    """Generate, then train, on the same cores."""
    for step in loop.steps:
        loop.learn(list(loop.rollouts(step)), step)
        yield loop.publish(loop.finish(step))


def sync(loop: TrainingLoop) -> Iterator[Iteration]:
    """Train on mini-batches while the rest of the batch is generated."""
    for step in loop.steps:
        for mini_batch in loop.mini_batches(step):
            loop.learn(mini_batch, step)
        yield loop.publish(loop.finish(step))


def stream(loop: TrainingLoop) -> Iterator[Iteration]:
    """Train on every group as soon as it is complete, in micro-batches as full as they come (StreamRL-Sync)."""
    for step in loop.steps:
        for group in loop.rollouts(step):
            loop.learn([group], step)
        yield loop.publish(loop.finish(step))


def one_step_async(loop: TrainingLoop) -> Iterator[Iteration]:
    """Train on the batch before while a batch is generated; both wait for each other at the end of each."""
    training = None
    for step in loop.steps:
        batch = list(loop.rollouts(step))
        if training is not None:
            yield loop.publish(training)
        loop.learn(batch, step)
        training = loop.finish(step)
    if training is not None:
        yield loop.publish(training)


def fully_async(loop: TrainingLoop) -> Iterator[Iteration]:
    """Generate the next batch while this one is trained, and move weights in the background (StreamRL-Async).

    A batch begins when the weights before the newest have arrived: a sample is never more than one step old.
    """
    for step in loop.steps:
        yield from loop.until_version(step - STALENESS["fully_async"])
        for group in loop.rollouts(step):
            loop.learn([group], step)
        loop.publish_later(loop.finish(step))
    yield from loop.until_version(loop.steps.stop)


PIPELINES: dict[str, Pipeline] = {
    "colocated": colocated,
    "sync": sync,
    "stream": stream,
    "one_step_async": one_step_async,
    "fully_async": fully_async,
}
STALENESS = {"colocated": 0, "sync": 0, "stream": 0, "one_step_async": 1, "fully_async": 1}
"""Versions by which a consumed sample may be older than the weights that it updates."""
