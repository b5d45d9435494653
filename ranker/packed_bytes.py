"""The bytes of a file as a stream, unpacked where its name ends in .gz or .zst."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from makespan.ranker.length_error import LengthDataError, shown

PACKED = (".gz", ".zst")


def arrow(module: str) -> Any:
    """Return a module of pyarrow, which has no types of its own."""
    try:
        return import_module(f"pyarrow.{module}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("Parquet and .zst files need pyarrow: pip install pyarrow", name=error.name) from None


def plain_name(path: Path) -> str:
    """Return the name of a file that exists, without .gz or .zst."""
    if path.is_dir():
        raise LengthDataError(f"{path}: a file is needed, got a folder")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    return path.stem if path.suffix in PACKED else path.name


@contextmanager
def unpacked(path: Path) -> Iterator[Any]:
    """Give the unpacked bytes of a file as a binary stream; what cannot be unpacked is an error wherever it is met."""
    try:
        with path.open("rb") as raw:
            if path.suffix == ".gz":
                with io.BufferedReader(gzip.GzipFile(fileobj=raw)) as stream:
                    yield stream
            elif path.suffix == ".zst":
                with io.BufferedReader(arrow("lib").CompressedInputStream(raw, "zstd")) as stream:
                    yield stream
            else:
                yield raw
    except (OSError, EOFError, zlib.error) as error:
        if path.suffix not in PACKED:
            raise
        raise LengthDataError(f"{path}: the content must be {path.suffix[1:]} data, got {shown(str(error))}") from None
