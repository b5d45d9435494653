"""Sampling prompts on engines side by side, each prompt given back when its last sample is finished."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from makespan.runtime.engine_processes import stream
from makespan.runtime.offline_engine import OfflineEngine

PROMPT_LIMIT = 1024
"""Most tokens of one prompt under the chat template."""

MAX_BATCH = 128
"""Requests that run at once in one engine; on one CPU core larger batches gained nothing."""


@dataclass(frozen=True)
class Job:
    """One prompt to sample, once per seed."""

    number: int
    text: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class JobDone:
    """The lengths of one prompt's samples, in the order of its seeds."""

    number: int
    prompt_tokens: int
    output_tokens: list[int]
    finish_reasons: list[str]


def run_jobs(jobs: Sequence[Job], *, model: Path, cap: int, temperature: float, slots: Sequence[str]) -> Iterator[JobDone]:
    """Sample every job, shared out over one engine per slot, and give each when it is finished.

    Parameters
    ----------
    jobs
        The prompts to sample.
    model
        A Hugging Face model folder.
    cap
        Most new tokens of one sample.
    temperature
        Sampling temperature.
    slots
        The place of each engine, from `engine_slots`.
    """
    shares = zip(slots, even_shares(jobs, len(slots)), strict=True)
    return stream(_sample_share, {slot: (share, model, cap, temperature) for slot, share in shares if share})


def even_shares(jobs: Sequence[Job], count: int) -> list[tuple[Job, ...]]:
    """Cut the jobs into runs of equal size; tasks come in turn, so each run holds all of them alike."""
    cuts = [len(jobs) * index // count for index in range(count + 1)]
    return [tuple(jobs[start:end]) for start, end in itertools.pairwise(cuts)]


def _sample_share(jobs: Sequence[Job], model: Path, cap: int, temperature: float) -> Iterator[JobDone]:
    engine = OfflineEngine(model, max_batch=MAX_BATCH, max_tokens=PROMPT_LIMIT + cap)
    return sample_jobs(engine, jobs, cap=cap, temperature=temperature)


def sample_jobs(engine: OfflineEngine, jobs: Sequence[Job], *, cap: int, temperature: float) -> Iterator[JobDone]:
    """Sample every job on one engine and give each as soon as its last sample is finished."""
    prompt_tokens: dict[int, int] = {}
    for job in jobs:
        tokens = engine.chat_tokens(job.text)
        if len(tokens) > PROMPT_LIMIT:
            start = job.text[:60]
            raise ValueError(f"a prompt must have at most {PROMPT_LIMIT} tokens, got {len(tokens)}: {start!r}")
        prompt_tokens[job.number] = len(tokens)
        for sample, seed in enumerate(job.seeds):
            engine.add(f"{job.number}/{sample}", tokens, cap=cap, temperature=temperature, seed=seed)
    samples = {job.number: len(job.seeds) for job in jobs}
    finished: defaultdict[int, dict[int, tuple[int, str]]] = defaultdict(dict)
    for completion in engine.run():
        number, sample = map(int, completion.name.split("/"))
        finished[number][sample] = (completion.output_tokens, completion.finish_reason)
        if len(finished[number]) == samples[number]:
            lengths, reasons = zip(*(finished[number][at] for at in range(samples[number])), strict=True)
            yield JobDone(number, prompt_tokens[number], list(lengths), list(reasons))
