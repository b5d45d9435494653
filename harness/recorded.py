"""The recordings that ship with the package."""

from pathlib import Path

from makespan.harness.length_workload import length_workload
from makespan.harness.workload import Workload

RECORDING = Path(__file__).parents[1] / "datasets" / "smollm2-135m-reasoning-gym.jsonl.gz"
OTHER_VERSION = RECORDING.with_name("smollm2-135m-reasoning-gym-t06.jsonl.gz")
"""The same prompts at temperature 0.6."""


def smollm2(path: str | None, requests: int | None, seed: int) -> Workload:
    """SmolLM2-135M on reasoning tasks, eight samples of each prompt and a ninth as its earlier epoch.

    A path names another recording of the same form.
    """
    return length_workload(path or RECORDING, "smollm2", requests, seed, previous_samples=1)


def smollm2_drifted(path: str | None, requests: int | None, seed: int) -> Workload:
    """The requests of `smollm2`; their history comes from another policy version, the recording that the path names.

    A policy version is stood for by another temperature: ``makespan record --temperature 0.6`` asks the same prompts.
    """
    if path is None:
        raise ValueError(
            "workload smollm2_drifted needs the recording of an earlier version, smollm2_drifted=PATH, got none"
        )
    return length_workload(f"{RECORDING}#earlier={path}", "smollm2_drifted", requests, seed, previous_samples=1)
