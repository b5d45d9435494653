"""Checkpoint folders that are whole or are not taken: written beside, synced, renamed, and checked when read.

A checkpoint is a folder of files and a manifest with the size and the SHA-256 of each. It is written under a hidden name and
renamed last, so a process that dies leaves the previous checkpoint as the newest; the manifest also finds out files
that were cut off later.
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
PREFIX = "checkpoint-"
PARTIAL = ".partial-"


def publish_checkpoint(folder: Path, write: Callable[[Path], None], state: Mapping[str, Any], *, keep: int = 2) -> Path:
    """Write one more checkpoint into `folder` and remove all but the newest `keep`.

    Parameters
    ----------
    folder
        Holds the checkpoints of one run; one process writes to it.
    write
        Puts the files into the folder it is given.
    state
        JSON values kept in the manifest.
    keep
        How many checkpoints stay, at least 1.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(left)
    numbers = [_number(path) for path in _checkpoints(folder)]
    name = f"{PREFIX}{max(numbers, default=0) + 1:06d}"
    partial = folder / f"{PARTIAL}{name}"
    partial.mkdir()
    write(partial)
    files = {str(path.relative_to(partial)): _fingerprint(path) for path in sorted(_files(partial))}
    (partial / MANIFEST).write_text(json.dumps({"state": state, "files": files}, indent=1), encoding="utf-8")
    for path in (*_files(partial), *(path for path in partial.rglob("*") if path.is_dir()), partial):
        _sync(path)
    published = partial.rename(folder / name)
    _sync(folder)
    for old in _checkpoints(folder)[keep:]:
        shutil.rmtree(old)
    return published


def has_checkpoint(folder: Path) -> bool:
    """Tell whether a run has published any, whole or not."""
    return bool(_checkpoints(folder))


def newest_checkpoint(folder: Path) -> Path:
    """Find the newest whole checkpoint, with a warning for each newer one that is not whole.

    Raises
    ------
    FileNotFoundError
        If `folder` holds no whole checkpoint.
    """
    for path in _checkpoints(folder):
        flaw = find_flaw(path)
        if flaw is None:
            return path
        warnings.warn(f"{path} is passed over: {flaw}", stacklevel=2)
    raise FileNotFoundError(f"a folder to resume from must hold a whole checkpoint, got {folder}")


def find_flaw(checkpoint: Path) -> str | None:
    """Say what is wrong with a checkpoint, or None when it is whole."""
    try:
        files = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))["files"]
        wrong = [name for name, wanted in files.items() if _fingerprint(checkpoint / name) != wanted]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return f"{', '.join(wrong)} changed after writing" if wrong else None


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Give the JSON values of a checkpoint's manifest."""
    state: dict[str, Any] = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))["state"]
    return state


def _checkpoints(folder: Path) -> list[Path]:
    found = [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdecimal()]
    return sorted(found, key=_number, reverse=True)


def _number(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(PREFIX))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
