"""Real instances as an `Engine`: the dispatcher drives them as it drives simulated ones."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from time import monotonic

import numpy as np

from makespan.runtime.engine import Ended, Timeline
from makespan.runtime.instance_actor import Outcome, Report
from makespan.runtime.instance_pool import InstancePool
from makespan.runtime.pool_news import Joined, Left, Lost, Reported
from makespan.runtime.sample import Prompt, Sample
from makespan.runtime.sampling import Sampling
from makespan.runtime.stage_ledger import StageLedger
from makespan.runtime.token_engine import ABORTED as CUT
from makespan.runtime.token_engine import FAILED, TokenRequest
from makespan.schedulers.instances import BLOCK_TOKENS, Cluster
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import BoolArray, FloatArray, IntArray
from makespan.schedulers.view import ABORTED, FINISHED, NOWHERE, OUTSIDE, QUEUED, RUNNING

LENGTH = "length"
"""How an outcome has ended that has as many tokens as were ordered."""
UNBOUNDED = 2**62


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
        count = len(requests)
        self.cluster = cluster
        self.state = np.full(count, OUTSIDE, dtype=np.int64)
        self._pool = pool
        self._requests = requests
        self._prompts = prompts
        self._sampling = sampling or Sampling()
        # What comes late from an earlier stage has other numbers.
        self._first = pool.reserve(count)
        self._zero = monotonic()
        self._ledger = StageLedger(prompts, pool.steps)
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

    @property
    def now(self) -> float:
        """Seconds since the start of the stage."""
        return monotonic() - self._zero

    @property
    def live(self) -> BoolArray:
        """Which instances take requests."""
        return np.array(self._pool.live)

    @property
    def generated(self) -> IntArray:
        """Tokens each request has generated, as of the last report."""
        return self._ledger.generated

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

    def look(self) -> None:
        """Do nothing: instances report by themselves, at least every half second."""

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
                        self._ledger.joined(i)
                        self._shift_s[i] = self._pool.clock_shift(i) - self._zero
        rows = np.array(ended, dtype=np.int64)
        return Ended(rows, self.state[rows] == FINISHED, self.generated[rows], np.array(returned, dtype=np.int64))

    def sample(self, row: int) -> Sample:
        """Return a request that has ended."""
        return self._ledger.sample(row, int(self._requests.group[row]), int(self._instance[row]))

    @property
    def stays(self) -> list[list[tuple[float, float]]]:
        """When each instance worked on each sample, in seconds of this process's monotonic clock."""
        return self._ledger.stays(self._zero)

    def timeline(self) -> Timeline:
        """Return what has happened. A second in which some request of an instance is in its prefill counts as prefill."""
        return self._ledger.timeline(self._instance, self.state == FINISHED)

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
        return self._sampling.order(
            row,
            self._first + row,
            self._prompts[row].tokens,
            self._ledger.tokens(row),
            min(self._total(row), int(self._stop[row])),
            float(self._keys[row]),
        )

    def _total(self, row: int) -> int:
        """Return after how many tokens a request ends if the model has not ended it."""
        return self._sampling.total(row, int(self._requests.max_new_tokens[row]))

    def _cut(self, rows: IntArray) -> None:
        for instance in np.unique(self._instance[rows]):
            here = rows[self._instance[rows] == instance]
            self._pool.abort(int(instance), (self._first + here).tolist())

    def _end_dropped(self) -> list[int]:
        ended, self._dropped = self._dropped, []
        for row in ended:
            refused = self._prompts[row].refused
            self._end(row, FAILED if refused else CUT, refused)
        return ended

    def _end(self, row: int, how: str, reason: str = "") -> None:
        self.state[row] = ABORTED if how in (CUT, FAILED) else FINISHED
        self._ledger.end(row, how, self.now, reason)

    def _note(self, i: int, report: Report, ended: list[int], returned: list[int]) -> None:
        self._ledger.loaded(i, report.load.steps, round(report.load.kv_share * int(self.cluster.kv_blocks[i])))
        for number, made in report.progress.items():
            row = number - self._first
            if 0 <= row < len(self.state) and self.state[row] in (QUEUED, RUNNING) and self._instance[row] == i:
                self.state[row] = RUNNING
                self._ledger.tell(row, made)
        for outcome in report.outcomes:
            row = outcome.number - self._first
            if 0 <= row < len(self.state):
                self._take(i, row, outcome, ended, returned)

    def _take(self, i: int, row: int, outcome: Outcome, ended: list[int], returned: list[int]) -> None:
        self._ledger.add(row, i, outcome, self._shift_s[i])
        target = self._going.pop(row, NOWHERE)
        # It has its tokens for this stay, but not all.
        made = len(self._ledger.tokens(row))
        goes_on = outcome.ended in (LENGTH, CUT) and self._stop[row] <= made < self._total(row)
        if row in self._given_up or not (goes_on or outcome.ended == CUT):
            self._end(row, CUT if goes_on else outcome.ended, outcome.reason)
            ended.append(row)
            return
        if outcome.tokens:
            self._ledger.drop_kv(row)
        if not goes_on and target != NOWHERE and self._pool.live[target]:
            self._submit([row], [target])
        else:
            self._give_back(row, returned)

    def _lose(self, i: int, ended: list[int], returned: list[int]) -> None:
        for row in np.flatnonzero((self._instance == i) & np.isin(self.state, (QUEUED, RUNNING))).tolist():
            self._going.pop(row, None)
            self._ledger.lose(row)
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
