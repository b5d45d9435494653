"""The trainer: GRPO over groups of samples as they arrive, and one optimiser step when the batch is complete.

What holds for every step:
- the gradient is that of the whole batch, whatever the order of arrival and the cuts between micro-batches, up to rounding:
  sums are accumulated and divided once by what is known only at the end;
- a group is normalised whole and a sample is trained once, or refused before anything of its call is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from makespan.runtime.causal_lm import load_causal_lm, named_weights, output_logprobs
from makespan.runtime.checkpoint import newest_checkpoint, publish_checkpoint, read_state
from makespan.runtime.grpo import Grpo, token_terms
from makespan.runtime.micro_batches import MicroBatches, Weighted
from makespan.runtime.step_report import StepReport, StepSums
from makespan.runtime.trainer_state import load_trainer_state, save_trainer_state
from makespan.runtime.training_sample import TrainingSample


class Trainer:
    """Learns a step from groups as they arrive: `learn` any number of times, then `finish`.

    Parameters
    ----------
    model
        A Hugging Face model folder with safetensors.
    grpo
        Hyper-parameters.
    device
        Where to train.
    dtype
        Of the computation. Parameters are float32 (float64 with float64); bfloat16 is autocast over them.
    seed
        Of torch's generators.
    """

    def __init__(
        self,
        model: Path,
        grpo: Grpo,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> None:
        if dtype not in (torch.bfloat16, torch.float32, torch.float64):
            raise ValueError(f"dtype must be bfloat16, float32 or float64, got {dtype}")
        torch.manual_seed(seed)
        self.grpo = grpo
        self.version = 0
        self.notes: dict[str, Any] = {}
        self._device = torch.device(device)
        self._dtype = dtype
        kept = torch.promote_types(dtype, torch.float32)
        self._model = load_causal_lm(model, device=self._device, dtype=kept)
        self._tokenizer: Any = import_module("transformers").AutoTokenizer.from_pretrained(str(model))
        self._reference: Any = None
        if grpo.kl_coefficient:
            self._reference = load_causal_lm(model, device=self._device, dtype=kept).requires_grad_(False)
        self._parameters: list[torch.nn.Parameter] = list(self._model.parameters())
        for parameter in self._parameters:
            # Zero, not None: a step without any advantage is a step along a zero gradient.
            parameter.grad = torch.zeros_like(parameter)
        self._optimizer = torch.optim.AdamW(self._parameters, lr=grpo.learning_rate, weight_decay=grpo.weight_decay)
        self._begin()

    @property
    def model(self) -> Any:
        """The module that is trained."""
        return self._model

    def _begin(self) -> None:
        self._optimizer.zero_grad(set_to_none=False)
        self._waiting = MicroBatches(self.grpo.micro_batch_tokens)
        self._sums = StepSums()

    def learn(self, groups: Sequence[Sequence[TrainingSample]]) -> None:
        """Take complete groups and run every micro-batch that they fill; the rest waits.

        Raises
        ------
        ValueError
            If a group is not whole, a sample was taken before in this step, or its weights are newer than the
            trainer's. Nothing of the call is taken then.
        """
        started = perf_counter()
        self._check(groups)
        for group in groups:
            advantages = self.grpo.advantages(np.array([sample.reward for sample in group]))
            for sample, advantage in zip(group, advantages, strict=True):
                self._sums.consume(sample, staleness=self.version - sample.version)
                if advantage == 0 and self._reference is None:
                    self._sums.skipped += 1
                    continue
                weight = 1.0 if self.grpo.aggregation == "token" else 1 / len(sample.output_tokens)
                self._waiting.add(Weighted(sample, float(advantage), weight))
        while batch := self._waiting.take_full():
            self._pass(batch)
        self._sums.busy_s += perf_counter() - started

    def finish(self) -> StepReport:
        """Run what is left, take one optimiser step, and count the version up.

        Raises
        ------
        ValueError
            If nothing was learned, or the gradient is not finite; the step is forgotten then.
        """
        started = perf_counter()
        if not self._sums.numbers:
            raise ValueError("a step must learn from at least one sample, got 0")
        while batch := self._waiting.take():
            self._pass(batch)
        sums = self._sums
        normaliser = sums.tokens if self.grpo.aggregation == "token" else len(sums.numbers)
        for parameter in self._parameters:
            assert parameter.grad is not None
            parameter.grad /= normaliser
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, self.grpo.max_grad_norm))
        if not isfinite(norm):
            self._begin()
            raise ValueError(f"the norm of the gradient must be finite, got {norm}; lower learning_rate")
        self._optimizer.step()
        self.version += 1
        self._begin()
        sums.busy_s += perf_counter() - started
        return sums.report(version=self.version, normaliser=normaliser, grad_norm=norm)

    def weights(self) -> dict[str, Tensor]:
        """Give a copy of the weights for an engine: Hugging Face names, bfloat16, on the CPU, tied ones once."""
        return {
            name: tensor.detach().to("cpu", torch.bfloat16, copy=True).contiguous()
            for name, tensor in named_weights(self._model).items()
        }

    def save(self, folder: Path, *, notes: Mapping[str, Any] | None = None) -> Path:
        """Publish a checkpoint in `folder`: model, optimiser, random states, version, notes.

        Its ``model`` folder is an ordinary Hugging Face folder.

        Parameters
        ----------
        folder
            Holds the checkpoints of the run.
        notes
            JSON values to find again after `restore`.
        """
        if self._sums.numbers:
            raise ValueError(f"a checkpoint must be saved between steps, got {len(self._sums.numbers)} samples in training")
        state = {"version": self.version, "grpo": asdict(self.grpo), "notes": dict(notes or {})}

        def write(partial: Path) -> None:
            self._model.save_pretrained(str(partial / "model"))
            self._tokenizer.save_pretrained(str(partial / "model"))
            if self._reference is not None:
                self._reference.save_pretrained(str(partial / "reference"))
            save_trainer_state(partial, self._optimizer, self._device)

        return publish_checkpoint(folder, write, state)

    @classmethod
    def restore(
        cls,
        folder: Path,
        *,
        grpo: Grpo | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """Give the trainer of the newest whole checkpoint in `folder`; it goes on bit by bit as the saved one would.

        Parameters
        ----------
        folder
            Where `save` published.
        grpo
            Other hyper-parameters than those of the checkpoint.
        device, dtype
            As they were, for the same bits.
        """
        checkpoint = newest_checkpoint(folder)
        state = read_state(checkpoint)
        trainer = cls(checkpoint / "model", grpo or Grpo(**state["grpo"]), device=device, dtype=dtype)
        trainer.version, trainer.notes = state["version"], state["notes"]
        if trainer._reference is not None:
            reference = checkpoint / "reference"
            if not reference.is_dir():
                raise ValueError("kl_coefficient must stay 0 in a run that began with 0, which kept no reference")
            trainer._reference = load_causal_lm(reference, device=trainer._device, dtype=trainer._reference.dtype)
            trainer._reference.requires_grad_(False)
        load_trainer_state(checkpoint, trainer._optimizer, trainer._device)
        return trainer

    def _check(self, groups: Sequence[Sequence[TrainingSample]]) -> None:
        vocabulary = int(self._model.config.vocab_size)
        numbers, seen = set(self._sums.numbers), set(self._sums.groups)
        for group in groups:
            ids = sorted({sample.group for sample in group})
            if len(ids) != 1:
                raise ValueError(f"samples that are learned together must be of one group, got {ids}")
            if ids[0] in seen:
                raise ValueError(f"a group must arrive whole and once in a step, got group {ids[0]} again")
            seen.add(ids[0])
            for sample in group:
                if sample.number in numbers:
                    raise ValueError(f"a sample must be trained once, got sample {sample.number} again")
                numbers.add(sample.number)
                if sample.version > self.version:
                    raise ValueError(
                        f"a sample's version must be at most the trainer's, {self.version}, "
                        f"got {sample.version} for sample {sample.number}"
                    )
                for tokens in (sample.prompt_tokens, sample.output_tokens):
                    if tokens.min() < 0 or tokens.max() >= vocabulary:
                        raise ValueError(
                            f"token ids must lie between 0 and {vocabulary - 1}, "
                            f"got {tokens.min()} to {tokens.max()} in sample {sample.number}"
                        )

    def _pass(self, batch: Sequence[Weighted]) -> None:
        samples = [item.sample for item in batch]
        lengths = [len(sample.output_tokens) for sample in samples]
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._dtype == torch.bfloat16):
            new = output_logprobs(self._model, samples, temperature=self.grpo.temperature)
            reference = None
            if self._reference is not None:
                with torch.no_grad():
                    reference = output_logprobs(self._reference, samples, temperature=self.grpo.temperature)

        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(np.repeat(values, lengths), dtype=new.dtype, device=new.device)

        behaviour = torch.tensor(np.concatenate([sample.logprobs for sample in samples])).to(new)
        advantages = column([item.advantage for item in batch])
        terms = token_terms(self.grpo, new=new, behaviour=behaviour, advantages=advantages, reference=reference)
        loss = (terms.loss * column([item.weight for item in batch])).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        self._sums.train([sample.tokens for sample in samples], terms, loss.item())
