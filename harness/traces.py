"""Published request traces: when requests came, with what prompt, and how long their outputs were."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from makespan.harness.workload import Workload
from makespan.ranker.length_error import LengthDataError, shown
from makespan.ranker.length_values import whole
from makespan.ranker.row_file import CSV, JSONL, RowFile
from makespan.schedulers.requests import Requests

HASH_BLOCK_TOKENS = 512


def azure_conversation(path: str | None, requests: int | None, seed: int) -> Workload:
    """Azure's conversation trace of 2023: CSV with TIMESTAMP, ContextTokens and GeneratedTokens.

    Arrivals are seconds after the first request. The trace knows no cap: the longest output is taken for it. A choice of
    requests thins the arrivals out.
    """
    times, prompts, outputs = [], [], []
    for row, place in _rows("azure", path, CSV):
        times.append(_timestamp(row.get("TIMESTAMP"), place))
        prompts.append(whole(_count(row.get("ContextTokens")), "ContextTokens", place))
        outputs.append(whole(_count(row.get("GeneratedTokens")), "GeneratedTokens", place))
    source = "Azure/AzurePublicDataset, AzureLLMInferenceTrace_conv (2023-11-16), CC-BY-4.0."
    trace = _workload("azure", times, prompts, outputs, source)
    return trace if requests is None else trace.choose(requests, seed)


def mooncake(path: str | None, requests: int | None, seed: int) -> Workload:
    """Mooncake's conversation trace: JSONL with timestamp (ms), input_length, output_length and hash_ids.

    `hash_ids` names each block of 512 prompt tokens; equal ids share a prefix. The trace knows no cap: the longest
    output is taken for it. A request with no output would be an error; the published trace holds none.
    """
    times, prompts, outputs, hashes = [], [], [], []
    for row, place in _rows("mooncake", path, JSONL):
        times.append(whole(row.get("timestamp"), "timestamp", place, 0) / 1000)
        prompts.append(whole(row.get("input_length"), "input_length", place))
        outputs.append(whole(row.get("output_length"), "output_length", place))
        hashes.append(_hashes(row.get("hash_ids"), prompts[-1], place))
    source = "kvcache-ai/Mooncake, FAST25 conversation trace, Apache-2.0."
    trace = replace(_workload("mooncake", times, prompts, outputs, source), prefix_hashes=tuple(hashes))
    return trace if requests is None else trace.choose(requests, seed)


def _rows(name: str, path: str | None, kind: str) -> Iterator[tuple[dict[str, Any], str]]:
    if path is None:
        raise ValueError(f"workload {name} needs a path, {name}=PATH, got none")
    file = RowFile.open(path)
    if file.kind != kind:
        raise LengthDataError(f"{path}: workload {name} must be a .{kind} file, got .{file.kind}")
    line = 0
    for line, row in file.rows():
        if isinstance(row, LengthDataError):
            raise row
        yield row, file.place(line)
    if line == 0:
        raise LengthDataError(f"{path}: at least one request is needed, got none")


def _workload(name: str, times: list[float], prompts: list[int], outputs: list[int], source: str) -> Workload:
    return Workload(
        name=name,
        requests=Requests.of(prompts, np.full(len(prompts), max(outputs)), arrival=np.array(times) - min(times)),
        output_tokens=np.array(outputs, dtype=np.int64),
        source=source,
    )


def _timestamp(value: Any, place: str) -> float:
    try:
        return datetime.fromisoformat(f"{value}+00:00").timestamp()
    except ValueError:
        raise LengthDataError(f"{place}: TIMESTAMP must be a date and a time, got {shown(value)}") from None


def _count(cell: str | None) -> int | str | None:
    return int(cell) if cell is not None and cell.isascii() and cell.isdigit() else cell


def _hashes(value: Any, prompt_tokens: int, place: str) -> tuple[int, ...]:
    blocks = -(-prompt_tokens // HASH_BLOCK_TOKENS)
    if not isinstance(value, list) or len(value) != blocks:
        raise LengthDataError(
            f"{place}: hash_ids must hold an id per {HASH_BLOCK_TOKENS} prompt tokens ({blocks}), got {shown(value)}"
        )
    return tuple(whole(block, "hash_ids", place, 0) for block in value)
