"""One instance of the slow cluster, and the requests that come and go: vLLM V1's scheduler on Python lists."""

from dataclasses import dataclass, field

from reference_engine import Job, blocks, step_ps
from reference_memory import Memory

from makespan.schedulers.instances import Instance
from makespan.schedulers.view import NOWHERE, OUTSIDE, QUEUED, RUNNING


@dataclass
class Guest(Job):
    """A request, wherever it is."""

    state: int = OUTSIDE
    place: int = NOWHERE
    handed_ps: int = 0
    bound_for: int | None = None
    admitted_ps: int = -1
    first_ps: int = -1
    reached: int = 0
    recomputed: int = 0
    stop: int = 0
    first_prompt: int = 0
    group: int = 0
    turn_end: int = 0
    calls: list[tuple[int, int, int]] = field(default_factory=list)  # gap, tokens of the answer, tokens of the next turn
    back_ps: int = 0
    pooled: int = 0
    fetched: bool = False
    ready_ps: int = 0
    moved: int = 0

    @property
    def leaves(self) -> bool:
        return self.generated == self.stop or self.bound_for is not None


@dataclass
class Place:
    """One instance, step by step."""

    instance: Instance
    running: list[Guest] = field(default_factory=list)
    waiting: list[Guest] = field(default_factory=list)
    ends_ps: int | None = None
    began_ps: int = 0
    known_ps: int = 0  # what was handed over later is not known to the scheduler, which may run ahead
    ghosts: list[int] = field(default_factory=list)  # blocks of those that have left, unknown to it as well
    steps: int = 0
    peak_blocks: int = 0
    others: list["Place"] = field(default_factory=list)
    link_free_ps: int = 0
    coming: list[Guest] = field(default_factory=list)
    memory: Memory = field(init=False)

    def __post_init__(self) -> None:
        self.memory = Memory(self.instance.kv_blocks, self.instance.keeps_kv)

    def used(self) -> int:
        return self.memory.used()

    def begin(self, now: int) -> None:
        while self.ends_ps is None and (self.running or self.waiting):
            if not self.instance.async_scheduling:
                self.catch_up(now)
            self.schedule(now)
            batch = [guest for guest in self.running if guest.scheduled]
            if batch:
                self.began_ps, self.ends_ps = now, now + step_ps(self.instance, list(batch))
                self.steps += 1
                self.peak_blocks = max(self.peak_blocks, self.used())
            else:
                self.catch_up(now)

    def catch_up(self, now: int) -> None:
        self.known_ps = now
        self.ghosts = []

    def end(self, now: int) -> None:
        """Count what the step that is over has computed."""
        self.ends_ps = None
        self.catch_up(self.began_ps)
        for guest in self.running:
            redone = min(guest.computed + guest.scheduled, guest.reached) - guest.computed
            decodes = guest.generated > 0 and guest.pending == 1
            guest.recomputed += 0 if decodes or not guest.scheduled else max(0, redone)
            guest.computed += guest.scheduled
            if guest.scheduled and guest.pending == 0:
                guest.generated += 1
                guest.first_ps = now if guest.first_ps < 0 else guest.first_ps
            guest.reached = max(guest.reached, guest.computed)
            guest.scheduled = 0

    def part(self) -> list[Guest]:
        """Let those go that have finished or are bound elsewhere."""
        gone = [guest for guest in self.running if guest.leaves]
        self.running = [guest for guest in self.running if not guest.leaves]
        for guest in gone:
            before = self.used()
            self.release(guest)
            if self.instance.async_scheduling:
                self.ghosts.append(before - self.used())
        return gone

    def schedule(self, now: int) -> None:
        budget = self.instance.max_batched_tokens
        preempted, position = False, 0
        while position < len(self.running) and budget > 0:
            guest = self.running[position]
            chunk = min(guest.pending, budget)
            while blocks(guest.computed + chunk) - blocks(guest.computed) > self.instance.kv_blocks - self.used():
                victim = max(self.running, key=lambda other: other.rank)
                position -= self.running.index(victim) < position
                budget += victim.scheduled
                self.preempt(victim)
                preempted = True
                if victim is guest:
                    break
            if guest not in self.running:
                break
            guest.scheduled = chunk
            self.memory.grow(guest.row, guest.computed + chunk)
            budget -= chunk
            position += 1
        while not preempted and self.waiting and budget > 0:
            head = min(self.waiting, key=lambda guest: guest.rank)
            room = self.instance.kv_blocks - self.used() - sum(self.ghosts)
            known = not self.instance.async_scheduling or head.handed_ps <= self.known_ps
            slots = self.instance.max_batch - len(self.running) - len(self.ghosts)
            _, shared = self.donor(head)
            if not known or slots <= 0 or blocks(head.prompt + head.generated) - shared > room:
                break
            self.admit(head, budget, now)
            budget -= head.scheduled

    def admit(self, guest: Guest, budget: int, now: int) -> None:
        donor, shared = self.donor(guest)
        self.waiting.remove(guest)
        self.running.append(guest)
        guest.state = RUNNING
        guest.admitted_ps = now if guest.admitted_ps < 0 else guest.admitted_ps
        guest.computed = self.memory.find(guest.row, (guest.prompt + guest.generated - 1) // 16, donor, shared)
        if guest.fetched:
            guest.computed = max(guest.computed, guest.pooled)
        guest.fetched, guest.pooled = False, 0
        guest.scheduled = min(guest.pending, budget)
        self.memory.grow(guest.row, guest.computed + guest.scheduled)

    def donor(self, guest: Guest) -> tuple[int | None, int]:
        """Return the request whose prompt this one shares, and how many blocks."""
        whole = (guest.first_prompt - 1) // 16
        if self.instance.shares_prompts and self.memory.own(guest.row, whole) < whole:
            for other in self.running:
                same = (other.group, other.first_prompt) == (guest.group, guest.first_prompt)
                if same and other.computed >= whole * 16:
                    return other.row, whole
        return None, 0

    def release(self, guest: Guest) -> None:
        """Free the blocks of a request; what may be found again is what it held last."""
        self.memory.release(guest.row, guest.computed)
        for other in self.others if self.instance.keeps_kv else ():
            other.memory.forget(guest.row)

    def preempt(self, guest: Guest) -> None:
        self.release(guest)
        self.running.remove(guest)
        self.waiting.append(guest)
        guest.scheduled = guest.computed = 0
        guest.preemptions += 1
        guest.state = QUEUED
