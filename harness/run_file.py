"""What `makespan train` has left of a run: its iterations, from the file to which it appends them."""

import json
from pathlib import Path
from typing import Any

WRITTEN = ("pipeline", "iteration", "seconds", "transfer_s", "samples", "training", "samples_trained")
"""What is read of an iteration."""


def read_run(folder: Path) -> list[dict[str, Any]]:
    """Return the iterations of a run; of one that was repeated after a death, what it gave last.

    Raises
    ------
    FileNotFoundError
        If there is no run.
    ValueError
        If a line is not an iteration, or has other samples than it counts.
    """
    file = folder / "steps.jsonl"
    if not file.is_file():
        raise FileNotFoundError(f"a run must have left a steps.jsonl, got none in {folder}")
    rows = [_row(line, f"line {number} of {file}") for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)]
    return list({row["iteration"]: row for row in rows}.values())


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"a run must be written as one JSON object a line, got {error} in {where}") from None
    missing = [name for name in WRITTEN if name not in row]
    if missing:
        raise ValueError(f"an iteration must have {', '.join(WRITTEN)}, got none of {', '.join(missing)} in {where}")
    if not len(row["samples_trained"]) == row["samples"] > 0:
        told = f"{row['samples']} samples and lengths of {len(row['samples_trained'])}"
        raise ValueError(f"an iteration must have as many samples as lengths, at least one, got {told} in {where}")
    return row
