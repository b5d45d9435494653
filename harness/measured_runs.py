"""Measured runs of a serving engine: when each request arrived, when its first and its last token came.

One run is ``bench__examples__GPU__MODEL__vllm__requests.jsonl.gz``, one request per line, with ``...__meta.json.gz``,
the settings of the engine, as LLMServingSim's benchmark records them (casys-kaist/LLMServingSim, MIT).
"""

import gzip
import json
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray

TIMES = ("arrival_time", "queued_ts", "scheduled_ts", "first_token_ts", "last_token_ts")
TOKENS = ("input_toks", "output_toks")


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredRun:
    """A run, its settings and its requests in the order of their arrival.

    Parameters
    ----------
    gpu, model
        What ran on what, ``organisation/name``.
    tensor_parallel, data_parallel, max_batch, max_batched_tokens
        Settings of the engine; the last two are those of one data-parallel rank.
    kv_blocks
        KV blocks of 16 tokens that it had, or None where that was not recorded.
    prompt_tokens, output_tokens
        Shape (n,).
    arrival, first_token, last_token
        Seconds from the first arrival. Shape (n,).
    """

    gpu: str
    model: str
    tensor_parallel: int
    data_parallel: int
    max_batch: int
    max_batched_tokens: int
    kv_blocks: int | None
    prompt_tokens: IntArray
    output_tokens: IntArray
    arrival: FloatArray
    first_token: FloatArray
    last_token: FloatArray

    @property
    def name(self) -> str:
        """What it is called in results."""
        cards = self.tensor_parallel * self.data_parallel
        return f"{self.model.partition('/')[2]} on {f'{cards} ' if cards > 1 else ''}{self.gpu}"

    @property
    def longest_context(self) -> int:
        """Tokens of its longest request."""
        return int((self.prompt_tokens + self.output_tokens).max())


def read_measured_runs(folder: Path) -> list[MeasuredRun]:
    """Read every run in a folder, in the order of their names."""
    found = sorted(folder.glob("bench__*__requests.jsonl.gz")) if folder.is_dir() else []
    if not found:
        raise FileNotFoundError(
            f"{folder}: no measured run here; one is bench__examples__GPU__MODEL__vllm__requests.jsonl.gz"
        )
    return [_read(path) for path in found]


def _read(path: Path) -> MeasuredRun:
    meta = path.with_name(path.name.replace("__requests.jsonl.gz", "__meta.json.gz"))
    if not meta.is_file():
        raise FileNotFoundError(f"{meta}: no such file")
    with gzip.open(meta, "rt", encoding="utf-8") as stream:
        settings = json.load(stream)
    engine = settings.get("engine_kwargs", {})
    blocks = settings.get("kv_cache", {}).get("num_gpu_blocks")
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = [_row(path, number, line) for number, line in enumerate(stream, start=1)]
    if not rows:
        raise ValueError(f"{path}: a measured run needs at least one request, got 0")
    columns = {name: np.array([row[name] for row in rows]) for name in (*TIMES, *TOKENS)}
    order = np.argsort(columns["arrival_time"], kind="stable")
    # Arrivals are on the wall clock, the rest on the engine's. What lies between the clocks was not recorded; the fastest
    # of all hand-overs is taken to have lasted no time.
    start = columns["arrival_time"].min()
    between = (columns["queued_ts"] - columns["arrival_time"]).min()
    return MeasuredRun(
        gpu=path.name.split("__")[2],
        model=str(settings["model"]),
        tensor_parallel=_setting(meta, engine, "tensor_parallel_size"),
        data_parallel=_setting(meta, engine, "data_parallel_size"),
        max_batch=_setting(meta, engine, "max_num_seqs"),
        max_batched_tokens=_setting(meta, engine, "max_num_batched_tokens"),
        # vLLM keeps one block for itself.
        kv_blocks=None if blocks is None else int(blocks) - 1,
        prompt_tokens=columns["input_toks"][order],
        output_tokens=columns["output_toks"][order],
        arrival=(columns["arrival_time"] - start)[order],
        first_token=(columns["first_token_ts"] - between - start)[order],
        last_token=(columns["last_token_ts"] - between - start)[order],
    )


def _setting(path: Path, engine: dict[str, Any], name: str) -> int:
    value = engine.get(name)
    if type(value) is not int or value < 1:
        raise ValueError(f"{path}: {name} must be a whole number of at least 1, got {value!r}")
    return value


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number}: a request must be a JSON object, got {error}") from None
    for name in (*TIMES, *TOKENS):
        if name not in row:
            raise ValueError(f"{path}, line {number}: a request needs {name}, got {', '.join(row)}")
        value = row[name]
        if name in TOKENS and not (type(value) is int and value >= 1):
            raise ValueError(f"{path}, line {number}: {name} must be a whole number of at least 1, got {value!r}")
        if name in TIMES and not (type(value) in (int, float) and isfinite(value) and value >= 0):
            raise ValueError(f"{path}, line {number}: {name} must be a time, finite and not negative, got {value!r}")
    if not row["queued_ts"] <= row["scheduled_ts"] <= row["first_token_ts"] <= row["last_token_ts"]:
        raise ValueError(f"{path}, line {number}: a request must be queued, scheduled, begun and ended in this order")
    return {name: row[name] for name in (*TIMES, *TOKENS)}
