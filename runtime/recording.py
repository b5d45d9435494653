"""Recording real output lengths: a real model, real sampling, one row per prompt."""

from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from makespan.runtime.engine_slots import default_slots, engine_slots
from makespan.runtime.recording_file import PartFile, Row
from makespan.runtime.recording_prompts import Prompt, check_tasks, make_prompts
from makespan.runtime.recording_spec import Recording, sample_seed
from makespan.runtime.recording_workers import Job, JobDone, run_jobs
from makespan.runtime.smollm2 import SMOLLM2, smollm2_folder


def record(
    out: Path,
    recording: Recording | None = None,
    *,
    model: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Record real output lengths to a JSONL file, resuming from ``OUT.part`` where there is one.

    Recording again gives the same prompts and seeds; the lengths agree as far as the engine's arithmetic does,
    which in vLLM depends a little on which requests share a batch.

    Parameters
    ----------
    out
        The file to write, ``.jsonl`` or ``.jsonl.gz``; it appears only when everything is recorded.
    recording
        What to record; by default what ships in ``datasets/``.
    model
        A Hugging Face model folder; by default SmolLM2-135M-Instruct.
    workers
        Engines side by side, one per CUDA device or, without one, per core; by default as many as fit.
    progress
        Called with the numbers of finished prompts and of all prompts.
    """
    recording = recording or Recording()
    if not out.name.endswith((".jsonl", ".jsonl.gz")):
        raise ValueError(f"a recording must end in .jsonl or .jsonl.gz, got {out.name}")
    if out.exists():
        raise FileExistsError(f"a recording is never overwritten, but {out} exists; remove it first")
    check_tasks(recording.tasks)
    slots = _slots(workers)
    name = model.name if model else SMOLLM2
    spec = asdict(recording) | {"model": name, "reasoning_gym": version("reasoning_gym")}
    prompts = make_prompts(recording.tasks, prompts=recording.prompts, seed=recording.seed)
    with PartFile(out, spec) as part:
        jobs = [
            Job(prompt.number, prompt.text, _seeds(recording, prompt.number))
            for prompt in prompts
            if prompt.number not in part.rows
        ]
        _report(progress, part, prompts)
        if jobs:
            for done in run_jobs(
                jobs,
                model=model or smollm2_folder(),
                cap=recording.cap,
                temperature=recording.temperature,
                slots=slots,
            ):
                part.append(done.number, _row(recording, name, prompts[done.number], done))
                _report(progress, part, prompts)
        part.publish(out)


def _row(recording: Recording, model: str, prompt: Prompt, done: JobDone) -> Row:
    return {
        "prompt": prompt.text,
        "task": prompt.task,
        "prompt_tokens": done.prompt_tokens,
        "group": prompt.group,
        "model": model,
        "output_tokens": done.output_tokens,
        "finish_reasons": done.finish_reasons,
        "seeds": list(_seeds(recording, prompt.number)),
        "cap": recording.cap,
        "temperature": recording.temperature,
    }


def _seeds(recording: Recording, prompt: int) -> tuple[int, ...]:
    return tuple(sample_seed(recording.seed, prompt, sample) for sample in range(recording.samples))


def _slots(workers: int | None) -> tuple[str, ...]:
    if workers is None:
        return default_slots()
    slots = engine_slots()
    if not 1 <= workers <= len(slots):
        raise ValueError(f"workers must be between 1 and {len(slots)}, one per device or core, got {workers}")
    return slots[:workers]


def _report(progress: Callable[[int, int], None] | None, part: PartFile, prompts: list[Prompt]) -> None:
    if progress is not None:
        progress(len(part.rows), len(prompts))
