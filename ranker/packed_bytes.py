"""The bytes of a file, unpacked where its name ends in .gz or .zst."""

import gzip
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

from makespan.ranker.length_error import LengthDataError, shown


def arrow(module: str) -> Any:
    """Return a module of pyarrow, which has no types of its own."""
    try:
        return import_module(f"pyarrow.{module}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("Parquet and .zst files need pyarrow: pip install pyarrow", name=error.name) from None


def unpacked(path: Path) -> tuple[str, bytes]:
    """Return the name of a file without .gz or .zst, and its unpacked bytes."""
    if path.is_dir():
        raise LengthDataError(f"{path}: a file is needed, got a folder")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    data = path.read_bytes()
    try:
        if path.suffix == ".gz":
            return path.stem, gzip.decompress(data)
        if path.suffix == ".zst":
            stream = arrow("lib").CompressedInputStream(arrow("lib").BufferReader(data), "zstd")
            return path.stem, bytes(stream.read())
    except (OSError, EOFError, zlib.error) as error:
        raise LengthDataError(f"{path}: the content must be {path.suffix[1:]} data, got {shown(str(error))}") from None
    return path.name, data
