"""Real instances as an `Engine`: the dispatcher drives them as it drives simulated ones."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf, nan
from time import monotonic
from typing import Self

import numpy as np

from makespan.runtime.busy_time import busy_seconds, most_at_once
from makespan.runtime.engine import Ended, Timeline
from makespan.runtime.instance_actor import Outcome, Report
from makespan.runtime.instance_pool import InstancePool, Joined, Left, Lost, Reported
from makespan.runtime.sample import Prompt, Sample
from makespan.runtime.token_engine import ABORTED as CUT
from makespan.runtime.token_engine import FAILED, TokenRequest
from makespan.schedulers.instances import BLOCK_TOKENS, Cluster
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import BoolArray, FloatArray, IntArray
from makespan.schedulers.view import ABORTED, FINISHED, NOWHERE, OUTSIDE, QUEUED, RUNNING

LENGTH = "length"
"""How an outcome has ended that has as many tokens as were ordered."""
UNBOUNDED = 2**62


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How samples are drawn.

    Parameters
    ----------
    temperature
        Of the sampling.
    seeds
        One for each request, or None for the engine's own.
    forced
        Exact output lengths to replay, or None to let the model end. Shape (n,).
    """

    temperature: float = 1.0
    seeds: Sequence[int] | None = None
    forced: IntArray | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < inf:
            raise ValueError(f"the temperature must not be negative, got {self.temperature}")


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


class RealCluster:
    """One generation stage on the instances of a pool.

    Parameters
    ----------
    pool
        The instances.
    cluster
        What is known of them.
    requests
        What may be started.
    prompts
        Of each request; those that are refused, here or by the engine, end as failed.
    sampling
        How samples are drawn.
    """

    def __init__(
        self,
        pool: InstancePool,
        cluster: Cluster,
        requests: Requests,
        prompts: Sequence[Prompt],
        *,
        sampling: Sampling | None = None,
    ) -> None:
        if len(pool) != len(cluster):
            raise ValueError(f"a cluster must describe the {len(pool)} instances of the pool, got {len(cluster)}")
        if len(prompts) != len(requests):
            raise ValueError(f"there must be a prompt for each of {len(requests)} requests, got {len(prompts)}")
        count, instances = len(requests), len(cluster)
        self.cluster = cluster
        self.state = np.full(count, OUTSIDE, dtype=np.int64)
        self._pool = pool
        self._requests = requests
        self._prompts = prompts
        self._sampling = sampling or Sampling()
        # What comes late from an earlier stage has other numbers.
        self._first = pool.reserve(count)
        self._zero = monotonic()
        self._drafts = [_Draft.of(prompt) for prompt in prompts]
        self.generated = np.array([len(draft.tokens) for draft in self._drafts], dtype=np.int64)
        self._instance = np.full(count, NOWHERE, dtype=np.int64)
        # What is on its way counts where it goes, as for the dispatcher.
        self._bound_for = np.full(count, NOWHERE, dtype=np.int64)
        self._keys = np.zeros(count)
        self._stop = np.full(count, UNBOUNDED)
        self._turn = np.zeros(count, dtype=np.int64)
        self._turns = 0
        # One for the whole stage: a better one in the middle would change the order of what lies close together.
        self._shift_s = {i: pool.clock_shift(i) - self._zero for i, live in enumerate(pool.live) if live}
        self._going: dict[int, int] = {}
        self._given_up: set[int] = set()
        self._dropped: list[int] = []
        self._times = {name: np.full(count, nan) for name in ("admitted", "first_token", "ended")}
        self._preemptions = np.zeros(count, dtype=np.int64)
        self._recomputed = np.zeros(count, dtype=np.int64)
        self._stays: list[list[tuple[float, float, float]]] = [[] for _ in range(instances)]
        self._steps_before = np.array(pool.steps, dtype=np.int64)
        self._steps = np.zeros(instances, dtype=np.int64)
        self._peak_blocks = np.zeros(instances, dtype=np.int64)

    @property
    def now(self) -> float:
        """Seconds since the start of the stage."""
        return monotonic() - self._zero

    @property
    def live(self) -> BoolArray:
        """Which instances take requests."""
        return np.array(self._pool.live)

    @property
    def running(self) -> IntArray:
        """Requests in the batch of each instance, as far as its reports tell."""
        return self._count(self.state == RUNNING)

    @property
    def queued(self) -> IntArray:
        """Requests that wait inside each instance."""
        return self._count(self.state == QUEUED)

    @property
    def kv_blocks_used(self) -> IntArray:
        """KV blocks that the running requests of each instance hold, as of its last report."""
        inside = np.flatnonzero(self.state == RUNNING)
        tokens = self._requests.prompt_tokens[inside] + self.generated[inside]
        blocks = np.bincount(self._bound_for[inside], -(-tokens // BLOCK_TOKENS), len(self.cluster))
        return blocks.astype(np.int64)

    def start(self, rows: IntArray, instances: IntArray, keys: FloatArray, tokens: IntArray | None = None) -> None:
        """Hand requests to instances, each for so many new tokens at most; a smaller key is admitted earlier."""
        if not (self.state[rows] == OUTSIDE).all():
            raise ValueError("a request must be started once, got one that is already inside an instance")
        self._keys[rows] = keys
        self._stop[rows] = UNBOUNDED if tokens is None else self.generated[rows] + tokens
        self._submit(rows, instances)

    def move(self, rows: IntArray, instances: IntArray) -> None:
        """Take requests to other instances with what they have generated; their KV is computed again."""
        self._going |= dict(zip(rows.tolist(), instances.tolist(), strict=True))
        self._bound_for[rows] = instances
        # Nobody is to take away again what is under way.
        self.state[rows] = RUNNING
        self._cut(rows)

    def recall(self, rows: IntArray) -> None:
        """Take back requests that are inside an instance, with what they have generated."""
        self._going |= dict.fromkeys(rows.tolist(), NOWHERE)
        self._cut(rows)

    def abort(self, rows: IntArray) -> None:
        """End requests; those inside an instance when it reports them."""
        self._given_up |= set(rows.tolist())
        self._dropped += rows[self.state[rows] == OUTSIDE].tolist()
        self._cut(rows[np.isin(self.state[rows], (QUEUED, RUNNING))])

    def wait(self, until: float) -> Ended:
        """Sleep until an instance reports, is lost or joins, but not beyond `until`."""
        ended, returned = self._end_dropped(), list[int]()
        if not ended:
            for news in self._pool.wait(until - self.now):
                match news:
                    case Reported(i, report):
                        self._note(i, report, ended, returned)
                        self._admit(i)
                    case Lost(i):
                        self._lose(i, ended, returned)
                    case Left(i):
                        self._empty(i)
                    case Joined(i):
                        self._steps_before[i] = 0
                        self._shift_s[i] = self._pool.clock_shift(i) - self._zero
        rows = np.array(ended, dtype=np.int64)
        return Ended(rows, self.state[rows] == FINISHED, self.generated[rows], np.array(returned, dtype=np.int64))

    def sample(self, row: int) -> Sample:
        """Return a request that has ended."""
        draft = self._drafts[row]
        return Sample(
            row=row,
            group=int(self._requests.group[row]),
            prompt=np.array(self._prompts[row].tokens, dtype=np.int64),
            tokens=np.array(draft.tokens, dtype=np.int64),
            logprobs=np.array(draft.logprobs),
            ended=draft.ended,
            reason=draft.reason,
            versions=tuple(draft.versions),
            instance=int(self._instance[row]),
            admitted=float(self._times["admitted"][row]),
            first_token=float(self._times["first_token"][row]),
            finished_at=float(self._times["ended"][row]),
            preemptions=int(self._preemptions[row]),
        )

    @property
    def stays(self) -> list[list[tuple[float, float]]]:
        """When each instance worked on each sample, in seconds of this process's monotonic clock."""
        return [[(a + self._zero, c + self._zero) for a, _, c in stays] for stays in self._stays]

    def timeline(self) -> Timeline:
        """Return what has happened. A second in which some request of an instance is in its prefill counts as prefill."""
        prefill = np.array([busy_seconds([(a, b) for a, b, _ in stays]) for stays in self._stays])
        busy = np.array([busy_seconds([(a, c) for a, _, c in stays]) for stays in self._stays])
        return Timeline(
            instance=self._instance.copy(),
            admitted=self._times["admitted"].copy(),
            first_token=self._times["first_token"].copy(),
            ended=self._times["ended"].copy(),
            finished=self.state == FINISHED,
            generated=self.generated.copy(),
            preemptions=self._preemptions.copy(),
            recomputed=self._recomputed.copy(),
            moved_tokens=np.zeros(len(self._requests), dtype=np.int64),
            prefill_s=prefill,
            decode_s=busy - prefill,
            recompute_s=np.zeros(len(self.cluster)),
            batch_s=np.array([sum(c - a for a, _, c in stays) for stays in self._stays], dtype=np.float64),
            steps=self._steps.copy(),
            peak_batch=np.array([most_at_once([(a, c) for a, _, c in stays]) for stays in self._stays], dtype=np.int64),
            peak_blocks=self._peak_blocks.copy(),
        )

    def _count(self, chosen: BoolArray) -> IntArray:
        return np.bincount(self._bound_for[chosen], minlength=len(self.cluster)).astype(np.int64)

    def _submit(self, rows: Iterable[int] | IntArray, instances: Iterable[int] | IntArray) -> None:
        orders: dict[int, list[TokenRequest]] = defaultdict(list)
        for row, instance in zip(map(int, rows), map(int, instances), strict=True):
            if self._prompts[row].refused:
                self._instance[row] = instance
                self._dropped.append(row)
                continue
            orders[instance].append(self._order(row))
            self.state[row], self._instance[row], self._bound_for[row] = QUEUED, instance, instance
            self._turn[row] = self._turns = self._turns + 1
        for instance, wanted in orders.items():
            self._pool.submit(instance, wanted)
            self._admit(instance)

    def _admit(self, i: int) -> None:
        """Take it that what waits first inside an instance runs as soon as a batch slot is free, as vLLM has it.

        The first token, which proves it, is told later; until then others would be sent to where there is no room, or what
        has begun would be taken away.
        """
        here = self._bound_for == i
        free = int(self.cluster.max_batch[i]) - int((here & (self.state == RUNNING)).sum())
        waiting = np.flatnonzero(here & (self.state == QUEUED))
        if free > 0 and len(waiting):
            first = np.lexsort((self._turn[waiting], self._keys[waiting]))[:free]
            self.state[waiting[first]] = RUNNING

    def _order(self, row: int) -> TokenRequest:
        sampling, made = self._sampling, self._drafts[row].tokens
        return TokenRequest(
            number=self._first + row,
            prompt=(*self._prompts[row].tokens, *made),
            max_tokens=min(self._total(row), int(self._stop[row])) - len(made),
            priority=order_preserving(float(self._keys[row])),
            temperature=sampling.temperature,
            # What goes on elsewhere must not draw again the numbers that its beginning drew.
            seed=(sampling.seeds[row] + 7919 * len(made)) % 2**63 if sampling.seeds is not None else None,
            forced=sampling.forced is not None,
        )

    def _total(self, row: int) -> int:
        """Return after how many tokens a request ends if the model has not ended it."""
        wanted = self._requests.max_new_tokens if self._sampling.forced is None else self._sampling.forced
        return int(wanted[row])

    def _cut(self, rows: IntArray) -> None:
        for instance in np.unique(self._instance[rows]):
            here = rows[self._instance[rows] == instance]
            self._pool.abort(int(instance), (self._first + here).tolist())

    def _end_dropped(self) -> list[int]:
        ended, self._dropped = self._dropped, []
        for row in ended:
            refused = self._prompts[row].refused
            self._drafts[row].reason = refused
            self._end(row, FAILED if refused else CUT)
        return ended

    def _end(self, row: int, how: str) -> None:
        self._drafts[row].ended = how
        self.state[row] = ABORTED if how in (CUT, FAILED) else FINISHED
        if np.isnan(self._times["ended"][row]) or how in (CUT, FAILED):
            self._times["ended"][row] = self.now

    def _note(self, i: int, report: Report, ended: list[int], returned: list[int]) -> None:
        self._note_load(i, report)
        for number, made in report.progress.items():
            row = number - self._first
            if 0 <= row < len(self.state) and self.state[row] in (QUEUED, RUNNING) and self._instance[row] == i:
                self.state[row] = RUNNING
                self.generated[row] = len(self._drafts[row].tokens) + made
        for outcome in report.outcomes:
            row = outcome.number - self._first
            if 0 <= row < len(self.state):
                self._take(i, row, outcome, ended, returned)

    def _note_load(self, i: int, report: Report) -> None:
        self._steps[i] = report.load.steps - self._steps_before[i]
        blocks = round(report.load.kv_share * int(self.cluster.kv_blocks[i]))
        self._peak_blocks[i] = max(self._peak_blocks[i], blocks)

    def _take(self, i: int, row: int, outcome: Outcome, ended: list[int], returned: list[int]) -> None:
        draft = self._drafts[row]
        shift = len(draft.tokens)
        draft.tokens += outcome.tokens
        draft.logprobs += outcome.logprobs
        for version, start in outcome.versions if outcome.tokens else ():
            if not draft.versions or draft.versions[-1][0] != version:
                draft.versions.append((version, start + shift))
        self.generated[row] = len(draft.tokens)
        self._preemptions[row] += outcome.preemptions
        if outcome.tokens:
            shift_s = self._shift_s[i]
            stay = (outcome.scheduled + shift_s, outcome.first + shift_s, outcome.last + shift_s)
            self._stays[i].append(stay)
            for name, moment in zip(("admitted", "first_token", "ended"), stay, strict=True):
                if name == "ended" or np.isnan(self._times[name][row]):
                    self._times[name][row] = moment
        target = self._going.pop(row, NOWHERE)
        if outcome.ended == FAILED:
            draft.reason = outcome.reason
        # It has its tokens for this stay, but not all.
        goes_on = outcome.ended in (LENGTH, CUT) and self._stop[row] <= len(draft.tokens) < self._total(row)
        if row in self._given_up or not (goes_on or outcome.ended == CUT):
            self._end(row, CUT if goes_on else outcome.ended)
            ended.append(row)
        elif not goes_on and target != NOWHERE and self._pool.live[target]:
            self._preemptions[row] += 1
            self._recomputed[row] += len(self._prompts[row].tokens) + len(draft.tokens)
            self._submit([row], [target])
        else:
            self._give_back(row, returned)

    def _lose(self, i: int, ended: list[int], returned: list[int]) -> None:
        for row in np.flatnonzero((self._instance == i) & np.isin(self.state, (QUEUED, RUNNING))).tolist():
            self._going.pop(row, None)
            kept = len(self._drafts[row].tokens)
            self._recomputed[row] += int(self.generated[row]) - kept
            self.generated[row] = kept
            if row in self._given_up:
                self._end(row, CUT)
                ended.append(row)
            else:
                self._give_back(row, returned)

    def _empty(self, i: int) -> None:
        """Take back what is on an instance that leaves, with what it has generated."""
        rows = np.flatnonzero((self._instance == i) & np.isin(self.state, (QUEUED, RUNNING)))
        self._going |= dict.fromkeys((row for row in rows.tolist() if row not in self._going), NOWHERE)
        self._cut(rows)

    def _give_back(self, row: int, returned: list[int]) -> None:
        self.state[row], self._instance[row] = OUTSIDE, NOWHERE
        returned.append(row)


def order_preserving(key: float) -> int:
    """Return an integer of 64 bits; they are ordered as the numbers they come from."""
    bits = int(np.float64(key + 0.0).view(np.int64))
    return bits if bits >= 0 else bits ^ 0x7FFF_FFFF_FFFF_FFFF
