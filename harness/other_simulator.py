"""NVIDIA's AISimulate on our workloads: the simulator that ours is timed beside.

It runs in this process: Qwen3-8B on H200 under vLLM with its own step times, round robin in the order of the trace.
"""

import json
from importlib import import_module
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from makespan.harness.workload import Workload

VERSION = "0.13.0.dev202610270000000085"
NEEDS = "ijson numpy packaging pandas psutil pydantic pyyaml"
"""What a simulation imports; most of what the package declares (jax, flax, ...) is for its optimiser."""
ENGINE = {"model": "Qwen/Qwen3-8B", "hardware": "h200_sxm", "backend": "vllm"}
HASH_TOKENS = 512


def aisimulate_run(workload: Workload, *, instances: int, max_batch: int) -> tuple[float, float]:
    """Simulate one generation stage with AISimulate, all requests at time 0 in the order of their `sequence`.

    Parameters
    ----------
    workload
        Gives prompt and output lengths; no two prompts share a prefix.
    instances
        Number of replicas, one GPU each.
    max_batch
        Most requests that run at once on one of them.

    Returns
    -------
    tuple[float, float]
        The simulated makespan, and the wall seconds that AISimulate reports for its simulation: without import and
        report. The first run in a process also loads its performance tables, about 0.3 s.

    Raises
    ------
    ModuleNotFoundError
        If AISimulate, or one of the few packages that it needs for this, is not installed.
    ValueError
        If a request arrives later than at 0, or not all tokens were generated.
    """
    if workload.requests.arrival.any():
        raise ValueError(f"all requests must arrive at 0, got {workload.requests.arrival.max():g} s")
    try:
        config: Any = import_module("aisimulate.config")
        predict: Any = import_module("aisimulate.predict")
        runner: Any = import_module("aisimulate.runner")
    except ModuleNotFoundError as error:
        command = f"pip install --no-deps aisimulate=={VERSION} && pip install {NEEDS}"
        raise ModuleNotFoundError(f"running AISimulate needs {error.name}: {command}", name=error.name) from None
    # Beyond the context length it would cut outputs off without a word.
    context = int((workload.requests.prompt_tokens + workload.output_tokens).max())
    worker = {"parallelism": {"replicas": instances}, "scheduler": {"max_sequences": max_batch}}
    engine = {**ENGINE, "context_length": context, "workers": {"aggregated": worker}}
    with TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.jsonl"
        trace.write_text(_mooncake(workload), encoding="utf-8")
        traffic = {"source": {"type": "trace", "paths": [str(trace)]}, "load": {"type": "trace_timestamps"}}
        asked = config.CorePredictionConfig.model_validate({"traffic": traffic, "engine": engine})
        report = predict.run_prediction(asked, stack="engine", runner_factory=runner.EngineReplayRunnerFactory()).native
    if report["total_output_tokens"] != workload.output_tokens.sum():
        raise ValueError(f"{workload.output_tokens.sum()} tokens must be generated, got {report['total_output_tokens']}")
    return report["duration_ms"] / 1e3, report["wall_time_ms"] / 1e3


def _mooncake(workload: Workload) -> str:
    fresh = count()
    lines = []
    for row in np.argsort(workload.requests.sequence).tolist():
        prompt, output = int(workload.requests.prompt_tokens[row]), int(workload.output_tokens[row])
        blocks = list(islice(fresh, -(-prompt // HASH_TOKENS)))
        lines.append(json.dumps({"timestamp": 0, "input_length": prompt, "output_length": output, "hash_ids": blocks}))
    return "\n".join(lines) + "\n"
