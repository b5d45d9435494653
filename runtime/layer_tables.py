"""Tables of measured layer times, as LLMServingSim's profiler writes them, read into columns.

One folder holds ``perf__GPU__MODEL__bf16__tpN__KIND.csv.gz`` with microseconds of one layer: `attention` by prefill chunk,
KV behind it, decoding requests and KV of each; `dense` by layer and tokens; `per_sequence` by layer and requests; `moe`, for
models with experts, by tokens and activated experts. ``perf__GPU__MODEL__bf16__meta.yaml.gz`` says how they were measured.
Source: casys-kaist/LLMServingSim (MIT).
"""

import csv
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from makespan.schedulers.types import FloatArray

MICROSECOND = 1e-6
AXES = {
    "attention": ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode"),
    "dense": ("tokens",),
    "per_sequence": ("sequences",),
    "moe": ("tokens", "activated_experts"),
}


@dataclass(frozen=True, slots=True, eq=False)
class LayerTables:
    """What one layer of a model takes on one GPU.

    Parameters
    ----------
    attention
        Rows of chunk, KV behind it, decoding requests, KV of each, seconds. Shape (n, 5).
    dense, per_sequence
        For each layer its tokens or requests, and seconds. Shape (2, n) each.
    moe
        Rows of tokens, activated experts, seconds; empty for a model without experts. Shape (n, 3).
    padded_kv_share
        Mean share of the way from even contexts to all as long as the longest that uneven contexts cost, 0 where the
        profiler did not measure it.
    """

    attention: FloatArray
    dense: dict[str, FloatArray]
    per_sequence: dict[str, FloatArray]
    moe: FloatArray
    padded_kv_share: float


def read_layer_tables(folder: Path, gpu: str, model: str, tensor_parallel: int) -> LayerTables:
    """Read the tables of a model, ``organisation/name``, at one degree of tensor parallelism."""
    stem = f"perf__{gpu}__{model.replace('/', '__')}__bf16__"
    prefix = f"{stem}tp{tensor_parallel}__"
    moe = folder / f"{prefix}moe.csv.gz"
    return LayerTables(
        attention=_columns(folder / f"{prefix}attention.csv.gz", AXES["attention"]),
        dense=_by_layer(folder / f"{prefix}dense.csv.gz", AXES["dense"]),
        per_sequence=_by_layer(folder / f"{prefix}per_sequence.csv.gz", AXES["per_sequence"]),
        moe=_columns(moe, AXES["moe"]) if moe.exists() else np.empty((0, 3)),
        padded_kv_share=_padded_kv_share(folder / f"{stem}meta.yaml.gz", tensor_parallel),
    )


def _columns(path: Path, axes: Sequence[str]) -> FloatArray:
    rows = [[_number(path, line, row, name) for name in (*axes, "time_us")] for line, row in _rows(path)]
    if not rows:
        raise ValueError(f"{path}: a table of layer times needs at least one row, got 0")
    table = np.array(rows)
    table[:, -1] *= MICROSECOND
    return table


def _by_layer(path: Path, axes: Sequence[str]) -> dict[str, FloatArray]:
    columns, rows = _columns(path, axes), _rows(path)
    if "layer" not in rows[0][1]:
        raise ValueError(f"{path}: a table of layer times needs a column layer, got {', '.join(rows[0][1])}")
    names = np.array([row["layer"] for _, row in rows])
    layers = {str(name): columns[names == name] for name in sorted(set(names))}
    return {name: table[np.argsort(table[:, 0])].T for name, table in layers.items()}


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return list(enumerate(csv.DictReader(stream), start=2))


def _number(path: Path, line: int, row: dict[str, str], name: str) -> float:
    try:
        value = float(row[name])
    except KeyError:
        raise ValueError(f"{path}: a table of layer times needs a column {name}, got {', '.join(row)}") from None
    except (TypeError, ValueError):
        raise ValueError(f"{path}, line {line}: {name} must be a number, got {row[name]!r}") from None
    if not (isfinite(value) and value >= 0):
        raise ValueError(f"{path}, line {line}: {name} must be finite and not negative, got {row[name]}")
    return value


def _padded_kv_share(path: Path, tensor_parallel: int) -> float:
    """Return ``skew_fit.per_tp.N.alpha_default`` of the profiler's notes."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        fits = stream.read().partition("\nskew_fit:")[2].partition("per_tp:")[2]
    found = re.search(rf"^ +{tensor_parallel}:\n(?:      .*\n)*?      alpha_default: ([0-9.]+)$", fits, re.MULTILINE)
    return float(found[1]) if found else 0.0
