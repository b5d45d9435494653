"""Encoders by name, as the command line and saved rankers give them."""

from collections.abc import Sequence
from pathlib import Path

from makespan.ranker.embedding_cache import cache_file, read_cache, write_cache
from makespan.ranker.encoders import CausalEncoder, Encoder, JointEncoder, MiniLMEncoder, NoEncoder, Progress, encoded
from makespan.schedulers.types import FloatArray


def make_encoder(name: str) -> Encoder:
    """Return the encoder of a name: ``none``, ``minilm``, ``minilm-int8``, ``smollm2``, a folder, or joined by ``+``."""
    if "+" in name:
        return JointEncoder(tuple(make_encoder(part) for part in name.split("+")))
    if name == "none":
        return NoEncoder()
    if name in ("minilm", "minilm-int8"):
        return MiniLMEncoder(quantised=name == "minilm-int8")
    if name == "smollm2":
        from makespan.runtime.smollm2 import smollm2_folder

        return CausalEncoder(smollm2_folder())
    if (Path(name) / "config.json").is_file():
        return CausalEncoder(Path(name))
    raise ValueError(
        f"an encoder must be none, minilm, minilm-int8, smollm2, a model folder, or such names joined by +, got {name!r}"
    )


def vectors(encoder: Encoder, prompts: Sequence[str], progress: Progress | None = None) -> FloatArray:
    """Return the vectors of prompts, shape (n, width), from the cache on disk where it has them."""
    if isinstance(encoder, JointEncoder):
        import numpy as np

        return np.concatenate([vectors(part, prompts, progress) for part in encoder.parts], axis=1)
    if isinstance(encoder, NoEncoder):
        return encoded(encoder, prompts, {})
    file = cache_file(encoder.name)
    known = read_cache(file)
    before = len(known)
    try:
        return encoded(encoder, prompts, known, progress)
    finally:
        # What was encoded before an interruption is kept.
        if len(known) > before:
            write_cache(file, known)
