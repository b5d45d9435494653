"""Published specifications of GPUs, models and links, by name."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from makespan.schedulers.gpu import Gpu
from makespan.schedulers.links import Link
from makespan.schedulers.model_spec import ModelSpec
from makespan.schedulers.registry import unknown_name

FOLDER = Path(__file__).parents[1] / "datasets" / "specifications"


def load_gpu(name: str) -> Gpu:
    """Return a kind of GPU, for example ``H800``."""
    return Gpu(name=name, **_entry("gpus", "kind of GPU", name))


def load_model(name: str) -> ModelSpec:
    """Return a model, for example ``qwen2.5-7b``."""
    return ModelSpec(name=name, **_entry("models", "model", name))


def load_link(name: str) -> Link:
    """Return a kind of link, for example ``dedicated``."""
    entry = _entry("links", "link", name)
    return Link(entry["gbit_s"] * 1e9 / 8, entry["latency_s"])


def names(kind: str) -> list[str]:
    """Return the names of all ``"gpus"``, ``"models"`` or ``"links"``."""
    return sorted(_read(kind))


def _entry(file: str, noun: str, name: str) -> dict[str, Any]:
    known = _read(file)
    if name not in known:
        raise unknown_name(noun, name, sorted(known))
    return {key: value for key, value in known[name].items() if key != "source"}


@cache
def _read(file: str) -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = json.loads((FOLDER / f"{file}.json").read_text(encoding="utf-8"))
    return content
