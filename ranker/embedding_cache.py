"""Vectors of prompts on disk, by encoder and hash of the text, so that no prompt is encoded twice."""

import hashlib
import os
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

Vectors = NDArray[np.float32]


def text_key(text: str) -> str:
    """Return what identifies a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def cache_file(encoder_name: str, folder: Path | None = None) -> Path:
    """Return where the vectors of an encoder lie: in ``$XDG_CACHE_HOME`` or ``~/.cache`` unless a folder is given."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = folder or (Path(base) if base else Path.home() / ".cache") / "makespan" / "embeddings"
    return folder / f"{text_key(encoder_name)[:16]}.safetensors"


def read_cache(file: Path) -> dict[str, Vectors]:
    """Return the vectors of a file by the hashes of their texts; a file that is missing or torn holds none."""
    if not file.is_file():
        return {}
    try:
        found = load_file(file)
        keys, vectors = found["keys"], found["vectors"]
    except (SafetensorError, KeyError, OSError):
        return {}
    return {bytes(key).hex(): vector for key, vector in zip(keys, vectors, strict=True)}


def write_cache(file: Path, known: dict[str, Vectors]) -> None:
    """Write vectors, whole or not at all."""
    if not known:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    keys = np.frombuffer(bytes.fromhex("".join(known)), dtype=np.uint8).reshape(len(known), -1)
    vectors = np.stack(list(known.values())).astype(np.float32)
    with NamedTemporaryFile(dir=file.parent, suffix=".tmp", delete=False) as partial:
        pass
    save_file({"keys": keys, "vectors": vectors}, partial.name)
    Path(partial.name).replace(file)
