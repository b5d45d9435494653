"""A trained ranker on disk: JSON, safetensors and LightGBM's text. Loading executes nothing."""

import hashlib
import json
from pathlib import Path
from typing import Any

import lightgbm
from safetensors import SafetensorError
from safetensors.numpy import load, save

from makespan.ranker.hand_features import NAMES
from makespan.ranker.length_ranker import LengthRanker
from makespan.ranker.parameters import Parameters

FORMAT = "makespan.ranker/1"
_MODEL, _ARRAYS, _TEXTS = "model.json", "arrays.safetensors", "trees.json"


class ModelError(ValueError):
    """A saved ranker that cannot be used; its one-line message says which file and why."""


def features_signature() -> str:
    """Return what identifies the hand-made features: their names in their order."""
    return hashlib.sha256("\n".join(NAMES).encode()).hexdigest()[:16]


def save_ranker(ranker: LengthRanker, folder: Path, facts: dict[str, Any] | None = None) -> None:
    """Write a ranker into a folder; `facts` about its training are kept beside it."""
    parameters = ranker.parameters()
    content = {
        _ARRAYS: save({name: array.copy() for name, array in parameters.arrays.items()}),
        _TEXTS: json.dumps(parameters.texts).encode(),
    }
    model = {
        "format": FORMAT,
        "encoder": ranker.encoder,
        "encoder_name": ranker.encoder_name,
        "hand_features": features_signature(),
        "verdict": str(ranker.verdict),
        "intervals": "shapes" if ranker.trees is None else "trees",
        "facts": facts or {},
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in content.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in {**content, _MODEL: (json.dumps(model, indent=1) + "\n").encode()}.items():
        partial = folder / f".{name}.tmp"
        partial.write_bytes(data)
        partial.replace(folder / name)


def load_ranker(folder: Path) -> LengthRanker:
    """Return the ranker in a folder.

    Raises
    ------
    ModelError
        When a file is missing, truncated or altered, or the ranker is of another format or other features.
    """
    model = _json(folder / _MODEL)
    if model.get("format") != FORMAT:
        raise ModelError(f"{folder / _MODEL}: the format must be {FORMAT}, got {model.get('format')!r}")
    if model.get("hand_features") != features_signature():
        raise ModelError(
            f"{folder / _MODEL}: the ranker must have been trained on the features {features_signature()} of this version, "
            f"got {model.get('hand_features')!r}; train it again"
        )
    data = {name: _read(folder / name) for name in (_ARRAYS, _TEXTS)}
    for name, content in data.items():
        found, wanted = hashlib.sha256(content).hexdigest(), _wanted(model).get(name)
        if found != wanted:
            raise ModelError(f"{folder / name}: the content must have SHA-256 {wanted}, got {found}: truncated or altered")
    try:
        saved = Parameters(load(data[_ARRAYS]), json.loads(data[_TEXTS]))
        return LengthRanker.of(str(model["encoder"]), str(model["encoder_name"]), saved)
    except (SafetensorError, LookupError, ValueError, TypeError, AttributeError, lightgbm.basic.LightGBMError) as error:
        raise ModelError(f"{folder}: a saved ranker must be whole, got {type(error).__name__}: {error}") from None


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what was noted about the training."""
    return dict(_json(folder / _MODEL).get("facts", {}))


def _wanted(model: dict[str, Any]) -> dict[str, Any]:
    wanted = model.get("sha256")
    return wanted if isinstance(wanted, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    content = _read(path)
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ModelError(f"{path}: a saved ranker must be JSON, got {error}") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path}: a saved ranker must be a JSON object, got {type(found).__name__}")
    return found


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ModelError(f"{path}: no such file; a ranker is trained by makespan ranker train DATA --out DIR")
    return path.read_bytes()
