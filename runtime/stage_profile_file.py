"""Measured stage times in a file: how long generation and training took on some numbers of GPUs."""

import json
from pathlib import Path
from typing import Any

from makespan.schedulers.stage_profile import StagePoint, StageProfile

_FIELDS = {"gpus": int, "batch": int, "seconds": float}


def load_stage_profiles(path: Path) -> tuple[StageProfile, StageProfile]:
    """Return P_gen and P_train from a JSON file.

    Its object has the lists ``generation`` and ``training``; each entry is an object with ``gpus``, ``batch`` (samples of an
    iteration) and ``seconds``.

    Raises
    ------
    ValueError
        One line that names the file, the entry and what is wrong with it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or sorted(content) != ["generation", "training"]:
            raise ValueError("stage times must be an object with generation and training, got something else")
        generation, training = (_profile(stage, content[stage]) for stage in ("generation", "training"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: stage times must be valid JSON, got {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return generation, training


def _profile(stage: str, entries: Any) -> StageProfile:
    if not isinstance(entries, list):
        raise ValueError(f"{stage} must be a list of points, got {type(entries).__name__}")
    return StageProfile(tuple(_point(f"{stage}[{k}]", entry) for k, entry in enumerate(entries)))


def _point(where: str, entry: Any) -> StagePoint:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must be an object, got {type(entry).__name__}")
    if unknown := sorted(set(entry) - set(_FIELDS)):
        raise ValueError(f"{where} must have only {', '.join(_FIELDS)}, got {unknown[0]!r}")
    for field, kind in _FIELDS.items():
        value = entry.get(field)
        if type(value) is not int and not (kind is float and type(value) is float):
            noun = "a whole number" if kind is int else "a number"
            raise ValueError(f"{where} must have {noun} as its {field}, got {value!r}")
    return StagePoint(**entry)
