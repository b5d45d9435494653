"""A slow engine that makes one step after the other, written apart from the fast one and as plainly as possible.

It repeats vLLM V1's scheduler on Python lists; tests hold the event-skipping engine against it.
"""

from dataclasses import dataclass, field

from reference_memory import Memory

from makespan.schedulers.instances import Instance

BLOCK = 16


@dataclass
class Job:
    """One request as the reference sees it."""

    row: int
    prompt: int
    output: int
    key: float
    turn: int
    arrival_ps: int
    generated: int = 0
    computed: int = 0
    scheduled: int = 0
    preemptions: int = 0
    ended_ps: int = -1

    @property
    def rank(self) -> tuple[float, int]:
        return (self.key, self.turn)

    @property
    def pending(self) -> int:
        return self.prompt + self.generated - self.computed


def blocks(tokens: int) -> int:
    return (tokens + BLOCK - 1) // BLOCK


def step_ps(instance: Instance, batch: list[Job]) -> int:
    step = instance.step_time
    prefilled = [job for job in batch if job.generated == 0 or job.pending > 1]
    contexts = [job.computed + 1 for job in batch if job not in prefilled]
    padding = sum(max(contexts) - context for context in contexts)
    kv = sum(job.computed + job.scheduled for job in batch)
    chunks = sum(job.scheduled for job in prefilled)
    own = step.prefill_steps
    if own is None or not prefilled:
        base = int(step.table_ps(instance.max_batch)[len(batch)]) + step.ps_per_padded_token * padding
        return base + step.ps_per_kv_token * kv + step.ps_per_prefill_token * chunks
    pairs = sum(query + 1 for job in prefilled for query in range(job.computed, job.computed + job.scheduled))
    return (
        int(own.table_ps(instance.max_batched_tokens)[len(contexts) + chunks])
        + own.ps_per_decode * len(contexts)
        + own.ps_per_kv_token * kv
        + step.prefill_ps_per_padded_token * padding
        + own.ps_per_pair * pairs
    )


@dataclass
class ReferenceInstance:
    """Runs jobs that arrive over time on one instance, step by step."""

    instance: Instance
    jobs: list[Job]
    running: list[Job] = field(default_factory=list)
    waiting: list[Job] = field(default_factory=list)
    coming: list[Job] = field(default_factory=list)  # arrive during the step under way
    now_ps: int = 0
    peak_blocks: int = 0
    memory: Memory = field(init=False)

    def __post_init__(self) -> None:
        self.memory = Memory(self.instance.kv_blocks, self.instance.keeps_kv)

    def used(self) -> int:
        return sum(blocks(job.computed + job.scheduled) for job in self.running)

    def ending(self) -> int:
        """Blocks of requests that end with the step under way; those that run may take them, none is admitted into them."""
        return sum(blocks(job.computed) for job in self.running if job.generated == job.output)

    def run_ahead(self) -> None:
        """Run with two steps under way: one that runs, and one that was scheduled when it began."""
        future = sorted(self.jobs, key=lambda job: (job.arrival_ps, job.turn))
        ends, under_way = 0, list[Job]()
        while True:
            while future and future[0].arrival_ps <= self.now_ps:
                self.waiting.append(future.pop(0))
            self.coming = [job for job in future if under_way and job.arrival_ps <= ends]
            planned = self.schedule()
            if not planned and not under_way:
                if not future:
                    return
                self.now_ps = max(self.now_ps, future[0].arrival_ps)
                continue
            if under_way:
                # The plan is made; only now does what runs come to its end.
                self.now_ps = ends
                for job in under_way:
                    if job.generated == job.output:
                        job.ended_ps = ends
                self.running = [job for job in self.running if job.ended_ps < 0]
            under_way = [job for job in self.running if job.scheduled]
            if under_way:
                ends = self.now_ps + step_ps(self.instance, under_way)
                self.advance(under_way)

    def advance(self, batch: list[Job]) -> None:
        """Count what a step computes; a scheduler that runs ahead counts it when the step begins."""
        self.peak_blocks = max(self.peak_blocks, self.used())
        for job in batch:
            job.computed += job.scheduled
            job.scheduled = 0
            if job.pending == 0:
                job.generated += 1

    def free(self) -> int:
        return self.instance.kv_blocks - self.used()

    def run(self) -> None:
        if self.instance.async_scheduling:
            self.run_ahead()
            return
        future = sorted(self.jobs, key=lambda job: (job.arrival_ps, job.turn))
        while future or self.waiting or self.running:
            if not self.waiting and not self.running:
                self.now_ps = max(self.now_ps, future[0].arrival_ps)
            while future and future[0].arrival_ps <= self.now_ps:
                self.waiting.append(future.pop(0))
            if not self.schedule():
                continue
            batch = [job for job in self.running if job.scheduled]
            self.now_ps += step_ps(self.instance, batch)
            self.advance(batch)
            for job in batch:
                if job.generated == job.output:
                    job.ended_ps = self.now_ps
            for job in self.running:
                if job.generated == job.output:
                    self.memory.release(job.row, job.computed)
            self.running = [job for job in self.running if job.generated < job.output]

    def schedule(self) -> bool:
        budget = self.instance.max_batched_tokens
        for job in self.running:
            if job.generated == job.output:
                self.memory.release(job.row, job.computed)
        preempted = False
        position = 0
        while position < len(self.running) and budget > 0:
            job = self.running[position]
            if job.generated == job.output:
                # It ends with the step under way, and holds its slot and its blocks until then.
                position += 1
                continue
            chunk = min(job.pending, budget)
            while blocks(job.computed + chunk) - blocks(job.computed) > self.free() + self.ending():
                victim = max(
                    (other for other in self.running if other.generated < other.output), key=lambda other: other.rank
                )
                if self.running.index(victim) < position:
                    position -= 1
                self.running.remove(victim)
                budget += victim.scheduled
                self.memory.release(victim.row, victim.computed)
                victim.scheduled = victim.computed = 0
                victim.preemptions += 1
                self.waiting.append(victim)
                preempted = True
                if victim is job:
                    break
            if job not in self.running:
                break
            job.scheduled = chunk
            self.memory.grow(job.row, job.computed + chunk)
            budget -= chunk
            position += 1
        while not preempted and self.waiting and budget > 0 and len(self.running) < self.instance.max_batch:
            head = min(self.waiting, key=lambda job: job.rank)
            if blocks(head.prompt + head.generated) > self.free() or any(job.rank < head.rank for job in self.coming):
                break
            self.waiting.remove(head)
            head.computed = self.memory.find(head.row, (head.prompt + head.generated - 1) // BLOCK)
            head.scheduled = min(head.pending, budget)
            self.memory.grow(head.row, head.computed + head.scheduled)
            budget -= head.scheduled
            self.running.append(head)
        return any(job.scheduled for job in self.running)
