"""The trainer as a Ray actor, which can be killed at any moment: what counts is its last checkpoint."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from makespan.runtime.free_core import claim_core
from makespan.runtime.grpo import Grpo
from makespan.runtime.nccl_transfer import NcclSender
from makespan.runtime.number_format import AUTO, fitting_dtype
from makespan.runtime.training_sample import TrainingSample
from makespan.runtime.weights import PackedWeights, pack

DTYPES = (AUTO, "bfloat16", "float32", "float64")
REMEMBERED = 4
"""Reports of the newest steps that a checkpoint keeps, for a driver that did not get them."""


@dataclass(frozen=True, kw_only=True)
class TrainerSpec:
    """What to train and how.

    Parameters
    ----------
    model
        A Hugging Face model folder.
    grpo
        Hyper-parameters.
    checkpoints
        Folder of the checkpoints; training goes on from the newest one there.
    checkpoint_every
        Steps between checkpoints.
    dtype
        Of the computation, by its torch name; ``auto`` for what the device multiplies fast (`fitting_dtype`).
    device
        Where to train.
    threads
        Cores to compute on; 0 takes one core for itself.
    seed
        Of torch's generators.
    nccl
        Whether instances get weights by NCCL, from this process, rather than through Ray's object store.
    """

    model: Path
    grpo: Grpo
    checkpoints: Path
    checkpoint_every: int = 1
    dtype: str = "float32"
    device: str = "cpu"
    threads: int = 0
    seed: int = 0
    nccl: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be {', '.join(DTYPES[:-1])} or {DTYPES[-1]}, got {self.dtype}")
        if self.checkpoint_every < 1:
            raise ValueError(f"checkpoint_every must be at least 1, got {self.checkpoint_every}")


@dataclass(frozen=True, slots=True)
class StepDone:
    """A finished step: its report, when the trainer computed, by its own clock, and what that clock says now."""

    report: dict[str, Any]
    busy: list[tuple[float, float]]
    clock: float


class TrainerActor:
    """Runs a `Trainer`, one call after the other."""

    def __init__(self, spec: TrainerSpec) -> None:
        self._spec = spec
        self._busy: list[tuple[float, float]] = []
        self._sender: NcclSender | None = None

    def start(self) -> int:
        """Go on from the newest checkpoint, or begin anew; returns the version of the weights."""
        if not self._spec.threads:
            self._core = claim_core()
            if self._core is not None:
                os.sched_setaffinity(0, {int(self._core.slot.partition(":")[2])})
        import torch

        from makespan.runtime.checkpoint import has_checkpoint
        from makespan.runtime.trainer import Trainer

        torch.set_num_threads(self._spec.threads or 1)
        spec = self._spec
        dtype = getattr(torch, fitting_dtype(spec.device) if spec.dtype == AUTO else spec.dtype)
        if has_checkpoint(spec.checkpoints):
            self._trainer = Trainer.restore(spec.checkpoints, grpo=spec.grpo, device=spec.device, dtype=dtype)
        else:
            self._trainer = Trainer(spec.model, spec.grpo, device=spec.device, dtype=dtype, seed=spec.seed)
        self._reports: dict[str, Any] = dict(self._trainer.notes.get("reports", {}))
        return self._trainer.version

    def pid(self) -> int:
        """Return the process of this actor."""
        return os.getpid()

    def learn(self, groups: Sequence[Sequence[TrainingSample]]) -> None:
        """Take complete groups and compute what they fill."""
        began = monotonic()
        self._trainer.learn(groups)
        self._busy.append((began, monotonic()))

    def finish(self) -> tuple[StepDone, PackedWeights | None]:
        """End the step; when it is due the checkpoint is whole before this returns."""
        began = monotonic()
        report = asdict(self._trainer.finish())
        self._busy.append((began, monotonic()))
        report["staleness"] = {str(versions): count for versions, count in report["staleness"].items()}
        self._reports[str(self._trainer.version)] = report
        for old in list(self._reports)[:-REMEMBERED]:
            del self._reports[old]
        if self._trainer.version % self._spec.checkpoint_every == 0:
            self._trainer.save(self._spec.checkpoints, notes={"reports": self._reports})
        done = StepDone(report, self._busy, monotonic())
        self._busy = []
        return done, self.weights()

    def finished(self, version: int) -> tuple[StepDone, PackedWeights | None]:
        """Say again what `finish` said of a step that is in the checkpoint; the weights are the present ones."""
        return StepDone(self._reports[str(version)], [], monotonic()), self.weights()

    def weights(self) -> PackedWeights | None:
        """Return the present weights, unless they go by NCCL."""
        return None if self._spec.nccl else pack(self._trainer.weights())

    def send(self, actors: list[Any], version: int) -> float:
        """Send the present weights to these instances by NCCL; returns the seconds that took."""
        if self._sender is None:
            self._sender = NcclSender(self._trainer.model)
        return self._sender.send(actors, version)
