"""A real training run beside its simulation: the same pipeline, on the lengths that the run generated.

Nothing of the iterations that are foretold is used but what was generated in them: the engines' step times come from a
profile, the trainer's and the transfer's from the first half of the run.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from makespan.harness.run_file import read_run
from makespan.runtime.generated import Generated
from makespan.runtime.pipelines import Pipeline, simulate_pipeline
from makespan.runtime.stage import simulate_stage
from makespan.schedulers.instances import Cluster
from makespan.schedulers.policy import Policy
from makespan.schedulers.requests import Requests
from makespan.schedulers.sources import none
from makespan.schedulers.training_time import TrainingTime
from makespan.schedulers.types import IntArray

FEWEST = 6
"""Iterations of a run of which one half can say something about the other."""


@dataclass(frozen=True, slots=True)
class ForetoldRun:
    """A pipeline as it ran and as it was simulated: median seconds of an iteration, over the second half of the run.

    Parameters
    ----------
    pipeline
        Its name.
    measured_s, simulated_s
        Seconds of an iteration.
    iterations
        How many were compared.
    """

    pipeline: str
    measured_s: float
    simulated_s: float
    iterations: int

    @property
    def error(self) -> float:
        """Simulated over measured, minus 1."""
        return self.simulated_s / self.measured_s - 1


def foretell(run: Path, cluster: Cluster, policy: Policy, *, micro_batch_tokens: int, mini_batches: int = 1) -> ForetoldRun:
    """Simulate a run that `makespan train` has left in a folder.

    Parameters
    ----------
    run
        Folder of one pipeline's run.
    cluster, policy
        The instances it generated on and who dispatched.
    micro_batch_tokens
        Of its trainer.
    mini_batches
        Into how many parts ``sync`` cut a batch.
    """
    rows = read_run(run)
    if len(rows) < FEWEST:
        raise ValueError(f"a run must have at least {FEWEST} iterations to be foretold, got {len(rows)} in {run}")
    half = len(rows) // 2
    early, late = rows[:half], rows[half:]
    trainer = fit_trainer(early, micro_batch_tokens)
    transfer = median(row["transfer_s"] for row in early)
    stages = [_stage(row, cluster, policy) for row in late]
    name = str(rows[0]["pipeline"])
    simulated = simulate_pipeline(
        Pipeline(name, mini_batches=mini_batches), len(late), stages.__getitem__, lambda _: trainer, lambda _: transfer
    )
    # The first iteration has nothing to overlap with, in the run as in the simulation; it is the run's that is missing here.
    seconds = [iteration.seconds for iteration in simulated][1:]
    measured = median(row["seconds"] for row in late[1:])
    return ForetoldRun(name, measured, median(seconds), len(seconds))


def fit_trainer(rows: list[dict[str, Any]], micro_batch_tokens: int) -> TrainingTime:
    """Return the trainer whose busy seconds are least squares over steps: so much per token, so much per step."""
    tokens = np.array([_lengths(row).sum() for row in rows], dtype=np.float64)
    busy = np.array([row["training"]["busy_s"] for row in rows])
    spread = float(tokens.var())
    slope = float(((tokens - tokens.mean()) * (busy - busy.mean())).mean() / spread) if spread else 0.0
    # Steps of nearly equal size say little about what a token takes; then all of it is put down to tokens.
    token_s = slope if 0 < slope * tokens.mean() < busy.mean() else float(busy.mean() / tokens.mean())
    step_s = max(0.0, float(busy.mean() - token_s * tokens.mean()))
    return TrainingTime(token_s=token_s, step_s=step_s, micro_batch_tokens=micro_batch_tokens)


def _stage(row: dict[str, Any], cluster: Cluster, policy: Policy) -> Generated:
    lengths = _lengths(row)
    requests = Requests.of(lengths[:, 0], lengths[:, 1])
    run = simulate_stage(requests, lengths[:, 1], cluster, policy, none(requests))
    return Generated.of(run.timeline, requests)


def _lengths(row: dict[str, Any]) -> IntArray:
    """Return prompt and output tokens of each sample of a step, shape (n, 2)."""
    return np.array([sample[1:] for sample in row["samples_trained"]], dtype=np.int64)
