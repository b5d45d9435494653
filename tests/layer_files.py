"""Layer tables and measured runs as LLMServingSim writes them, but of an engine that was made up, so that all is known."""

import gzip
import json
from pathlib import Path
from typing import Any

GPU, MODEL = "RTXPRO6000", "meta-llama/Llama-3.1-8B"
LAYERS = 32

# Microseconds of one layer: the weights, a token, a decoding request, a token of KV (decoding, prefilling), a pair.
WEIGHTS, TOKEN, DECODE, KV, PREFILL_KV, PAIR = 300.0, 1.0, 0.2, 3e-3, 6e-3, 8e-5
HEAD, HEAD_REQUEST = 700.0, 2.0
CHUNKS = (0, 16, 64, 256, 1024, 2048)
CONTEXTS = (0, 16, 64, 256, 1024, 4096)
BATCHES = (0, 1, 4, 16, 64, 128)


def attention_us(chunk: float, behind: float, decodes: float, kv: float) -> float:
    if chunk == 0:
        return DECODE * decodes + KV * decodes * kv
    pairs = chunk * behind + chunk * (chunk + 1) / 2
    return DECODE * decodes + PREFILL_KV * (decodes * kv + behind + chunk) + PAIR * pairs


def write_tables(folder: Path, *, tensor_parallel: int = 1, share: float | None = 0.05) -> None:
    stem = f"perf__{GPU}__{MODEL.replace('/', '__')}__bf16__"
    attention = [
        (chunk, behind, decodes, kv, attention_us(chunk, behind, decodes, kv))
        for chunk in CHUNKS
        for behind in (CONTEXTS if chunk else (0,))
        for decodes in BATCHES
        for kv in (CONTEXTS[1:] if decodes else (0,))
        if chunk + decodes
    ]
    columns = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us"
    write(folder / f"{stem}tp{tensor_parallel}__attention.csv.gz", table(columns, attention))
    sizes = (1, 16, 64, 128, 256, 512, 1024, 2048)
    dense = [("qkv_proj", size, WEIGHTS + TOKEN * size) for size in sizes] + [("embedding", size, 1.0) for size in sizes]
    write(folder / f"{stem}tp{tensor_parallel}__dense.csv.gz", table("layer,tokens,time_us", dense))
    head = [("lm_head", size, HEAD + HEAD_REQUEST * size) for size in (1, 16, 64, 128, 256)]
    write(folder / f"{stem}tp{tensor_parallel}__per_sequence.csv.gz", table("layer,sequences,time_us", head))
    fit = f"    {tensor_parallel}:\n      method: mean\n      alpha_default: {share}\n" if share is not None else ""
    write(folder / f"{stem}meta.yaml.gz", f"gpu: none\nskew_fit:\n  enabled: true\n  per_tp:\n{fit}")


def table(columns: str, rows: list[tuple[Any, ...]]) -> str:
    return "\n".join([columns, *(",".join(str(value) for value in row) for row in rows)]) + "\n"


def write(path: Path, text: str) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.write(text)


def write_run(folder: Path, requests: list[dict[str, Any]], **settings: Any) -> None:
    stem = f"bench__examples__{GPU}__{MODEL.partition('/')[2]}__vllm__"
    engine = {"tensor_parallel_size": 1, "data_parallel_size": 1, "max_num_seqs": 128, "max_num_batched_tokens": 2048}
    meta = {"model": MODEL, "engine_kwargs": engine | settings, "kv_cache": {"num_gpu_blocks": 5001}}
    write(folder / f"{stem}meta.json.gz", json.dumps(meta))
    write(folder / f"{stem}requests.jsonl.gz", "".join(json.dumps(request) + "\n" for request in requests))
