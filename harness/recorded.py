"""The recording that ships with the package."""

from pathlib import Path

from makespan.harness.length_workload import length_workload
from makespan.harness.workload import Workload

RECORDING = Path(__file__).parents[1] / "datasets" / "smollm2-135m-reasoning-gym.jsonl.gz"


def smollm2(path: str | None, requests: int | None, seed: int) -> Workload:
    """SmolLM2-135M on reasoning tasks, eight samples of each prompt and a ninth as its earlier epoch.

    A path names another recording of the same form.
    """
    return length_workload(path or RECORDING, "smollm2", requests, seed, previous_samples=1)
