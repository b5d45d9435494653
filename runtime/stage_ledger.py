"""What a generation stage has made: the tokens of each request on all the instances it was on, and when."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Self

import numpy as np

from makespan.runtime.busy_time import busy_seconds, most_at_once
from makespan.runtime.engine import Timeline
from makespan.runtime.instance_actor import Outcome
from makespan.runtime.sample import Prompt, Sample
from makespan.runtime.token_engine import ABORTED, FAILED
from makespan.schedulers.types import BoolArray, IntArray


@dataclass(slots=True)
class _Draft:
    """What has been generated of one request, on all instances it was on."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    versions: list[tuple[int, int]] = field(default_factory=list)
    ended: str = ""
    reason: str = ""

    @classmethod
    def of(cls, prompt: Prompt) -> Self:
        """Return what an earlier stage has generated of it."""
        if prompt.begun is None:
            return cls()
        begun = prompt.begun
        return cls(begun.tokens.tolist(), begun.logprobs.tolist(), list(begun.versions))

    def add(self, outcome: Outcome) -> None:
        """Take what an instance has generated after that."""
        shift = len(self.tokens)
        self.tokens += outcome.tokens
        self.logprobs += outcome.logprobs
        for version, start in outcome.versions if outcome.tokens else ():
            if not self.versions or self.versions[-1][0] != version:
                self.versions.append((version, start + shift))


class StageLedger:
    """The past of the requests and instances of one stage. Times are seconds from its start.

    Parameters
    ----------
    prompts
        Of each request.
    steps
        Steps that each instance had made before. Length N.
    """

    def __init__(self, prompts: Sequence[Prompt], steps: Sequence[int]) -> None:
        count, instances = len(prompts), len(steps)
        self._prompts = prompts
        self._drafts = [_Draft.of(prompt) for prompt in prompts]
        self.generated = np.array([len(draft.tokens) for draft in self._drafts], dtype=np.int64)
        self._times = {name: np.full(count, nan) for name in ("admitted", "first_token", "ended")}
        self._preemptions = np.zeros(count, dtype=np.int64)
        self._recomputed = np.zeros(count, dtype=np.int64)
        self._stays: list[list[tuple[float, float, float]]] = [[] for _ in range(instances)]
        self._steps_before = np.array(steps, dtype=np.int64)
        self._steps = np.zeros(instances, dtype=np.int64)
        self._peak_blocks = np.zeros(instances, dtype=np.int64)

    def tokens(self, row: int) -> list[int]:
        """Return the tokens of a request that nothing can take away any more."""
        return self._drafts[row].tokens

    def add(self, row: int, i: int, outcome: Outcome, shift_s: float) -> None:
        """Take what instance `i`, whose clock is `shift_s` seconds behind the stage's, has generated of a request."""
        draft = self._drafts[row]
        draft.add(outcome)
        self.generated[row] = len(draft.tokens)
        self._preemptions[row] += outcome.preemptions
        if outcome.tokens:
            stay = (outcome.scheduled + shift_s, outcome.first + shift_s, outcome.last + shift_s)
            self._stays[i].append(stay)
            for name, moment in zip(("admitted", "first_token", "ended"), stay, strict=True):
                if name == "ended" or np.isnan(self._times[name][row]):
                    self._times[name][row] = moment

    def tell(self, row: int, made: int) -> None:
        """Note how many tokens the instance of a request has generated of it so far."""
        self.generated[row] = len(self._drafts[row].tokens) + made

    def drop_kv(self, row: int) -> None:
        """Note that a request goes on elsewhere, where the KV of its prompt and of what it has is computed again."""
        self._preemptions[row] += 1
        self._recomputed[row] += len(self._prompts[row].tokens) + int(self.generated[row])

    def lose(self, row: int) -> None:
        """Note that an instance is gone with the KV of a request, and with the tokens that it had only told of."""
        kept = len(self._drafts[row].tokens)
        if self.generated[row] > kept:
            self.drop_kv(row)
        self.generated[row] = kept

    def end(self, row: int, how: str, now: float, reason: str = "") -> None:
        """Note how a request ended; one that did not finish ends now and not with its last token."""
        draft = self._drafts[row]
        draft.ended, draft.reason = how, reason
        if np.isnan(self._times["ended"][row]) or how in (ABORTED, FAILED):
            self._times["ended"][row] = now

    def joined(self, i: int) -> None:
        """Note that an instance is new, and so are its steps."""
        self._steps_before[i] = 0

    def loaded(self, i: int, steps: int, blocks: int) -> None:
        """Note the steps that an instance has made in its life, and the KV blocks in use on it."""
        self._steps[i] = steps - self._steps_before[i]
        self._peak_blocks[i] = max(self._peak_blocks[i], blocks)

    def stays(self, zero: float) -> list[list[tuple[float, float]]]:
        """Return when each instance worked on each sample, by a clock that showed `zero` at the start of the stage."""
        return [[(a + zero, c + zero) for a, _, c in stays] for stays in self._stays]

    def sample(self, row: int, group: int, instance: int) -> Sample:
        """Return a request that has ended."""
        draft = self._drafts[row]
        return Sample(
            row=row,
            group=group,
            prompt=np.array(self._prompts[row].tokens, dtype=np.int64),
            tokens=np.array(draft.tokens, dtype=np.int64),
            logprobs=np.array(draft.logprobs),
            ended=draft.ended,
            reason=draft.reason,
            versions=tuple(draft.versions),
            instance=instance,
            admitted=float(self._times["admitted"][row]),
            first_token=float(self._times["first_token"][row]),
            finished_at=float(self._times["ended"][row]),
            preemptions=int(self._preemptions[row]),
        )

    def timeline(self, instance: IntArray, finished: BoolArray) -> Timeline:
        """Return what has happened. A second in which some request of an instance is in its prefill counts as prefill."""
        prefill = np.array([busy_seconds([(a, b) for a, b, _ in stays]) for stays in self._stays])
        busy = np.array([busy_seconds([(a, c) for a, _, c in stays]) for stays in self._stays])
        return Timeline(
            instance=instance.copy(),
            admitted=self._times["admitted"].copy(),
            first_token=self._times["first_token"].copy(),
            ended=self._times["ended"].copy(),
            finished=finished,
            generated=self.generated.copy(),
            preemptions=self._preemptions.copy(),
            recomputed=self._recomputed.copy(),
            moved_tokens=np.zeros(len(self._prompts), dtype=np.int64),
            prefill_s=prefill,
            decode_s=busy - prefill,
            recompute_s=np.zeros(len(self._stays)),
            batch_s=np.array([sum(c - a for a, _, c in stays) for stays in self._stays], dtype=np.float64),
            steps=self._steps.copy(),
            peak_batch=np.array([most_at_once([(a, c) for a, _, c in stays]) for stays in self._stays], dtype=np.int64),
            peak_blocks=self._peak_blocks.copy(),
        )
