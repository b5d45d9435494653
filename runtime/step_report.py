"""The figures of one training step, and the sums they are made of."""

from collections import Counter
from dataclasses import dataclass, field

import torch

from makespan.runtime.grpo import TokenTerms
from makespan.runtime.training_sample import TrainingSample


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What one step of the trainer did. Means over tokens are means over trained tokens; None where there were none.

    Parameters
    ----------
    version
        Weight version that the step produced.
    loss
        Of the whole batch, skipped samples included (they add 0).
    grad_norm
        Before it was limited.
    reward_mean
        Mean over all samples.
    samples, groups, tokens
        Samples, groups and output tokens that the step consumed.
    skipped_samples
        Samples without advantage, which need no pass through the model: they only count in the means of the loss.
    micro_batches
        Passes through the model.
    padding
        Share of the tokens in those passes that was padding.
    ratio_mean
        Mean probability ratio of new to behaviour weights.
    clip_share
        Share of trained tokens whose gradient was clipped away.
    behaviour_kl
        Estimate of KL(behaviour || new) per token: how far the engine's weights were from the trainer's.
    kl
        Estimate of KL(new || reference) per token; None without a reference.
    staleness
        Samples by the number of versions that their weights were behind.
    busy_s
        Seconds of computing in `learn` and `finish`.
    """

    version: int
    loss: float
    grad_norm: float
    reward_mean: float
    samples: int
    groups: int
    tokens: int
    skipped_samples: int
    micro_batches: int
    padding: float
    ratio_mean: float | None
    clip_share: float | None
    behaviour_kl: float | None
    kl: float | None
    staleness: dict[int, int]
    busy_s: float


@dataclass(slots=True, eq=False)
class StepSums:
    """Running sums of a step that is being trained."""

    numbers: set[int] = field(default_factory=set)
    groups: set[int] = field(default_factory=set)
    staleness: Counter[int] = field(default_factory=Counter)
    tokens: int = 0
    reward: float = 0.0
    skipped: int = 0
    micro_batches: int = 0
    passed_tokens: int = 0
    padded_tokens: int = 0
    trained_tokens: int = 0
    loss: float = 0.0
    ratio: float = 0.0
    clipped: float = 0.0
    behaviour_kl: float = 0.0
    kl: float | None = None
    busy_s: float = 0.0

    def consume(self, sample: TrainingSample, *, staleness: int) -> None:
        """Count a sample that has arrived."""
        self.numbers.add(sample.number)
        self.groups.add(sample.group)
        self.staleness[staleness] += 1
        self.tokens += len(sample.output_tokens)
        self.reward += sample.reward

    def train(self, lengths: list[int], terms: TokenTerms, loss: float) -> None:
        """Count a micro-batch of samples of these lengths."""
        sums = [term.to(torch.float64).sum() for term in (terms.ratio, terms.clipped, terms.behaviour_kl)]
        if terms.reference_kl is not None:
            sums.append(terms.reference_kl.to(torch.float64).sum())
        ratio, clipped, behaviour_kl, *kl = torch.stack(sums).tolist()
        self.micro_batches += 1
        self.passed_tokens += sum(lengths)
        self.padded_tokens += len(lengths) * max(lengths)
        self.trained_tokens += terms.loss.numel()
        self.loss += loss
        self.ratio += ratio
        self.clipped += clipped
        self.behaviour_kl += behaviour_kl
        if kl:
            self.kl = (self.kl or 0.0) + kl[0]

    def report(self, *, version: int, normaliser: float, grad_norm: float) -> StepReport:
        """Divide the sums."""
        trained = self.trained_tokens
        return StepReport(
            version=version,
            loss=self.loss / normaliser,
            grad_norm=grad_norm,
            reward_mean=self.reward / len(self.numbers),
            samples=len(self.numbers),
            groups=len(self.groups),
            tokens=self.tokens,
            skipped_samples=self.skipped,
            micro_batches=self.micro_batches,
            padding=1 - self.passed_tokens / self.padded_tokens if self.padded_tokens else 0.0,
            ratio_mean=self.ratio / trained if trained else None,
            clip_share=self.clipped / trained if trained else None,
            behaviour_kl=self.behaviour_kl / trained if trained else None,
            kl=self.kl / trained if self.kl is not None else None,
            staleness=dict(sorted(self.staleness.items())),
            busy_s=self.busy_s,
        )
