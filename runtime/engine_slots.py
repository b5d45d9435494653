"""Places for one engine each: the CUDA devices of this machine, or its cores where there is none."""

import os

ENGINE_GIB = 6
"""Memory of one engine of a small model on the CPU: weights, workspace and 3 GiB of KV."""


def engine_slots() -> tuple[str, ...]:
    """Name the places of this machine, ``cuda:N`` for a device or ``cpu:N`` for a core."""
    import torch

    devices = torch.cuda.device_count()
    if devices:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(device) for device in range(devices)]
        return tuple(f"cuda:{name}" for name in names)
    return tuple(f"cpu:{core}" for core in cores())


def occupy(slot: str) -> None:
    """Confine this process to one place; must run before torch is imported.

    Parameters
    ----------
    slot
        A name that `engine_slots` gave.
    """
    kind, _, number = slot.partition(":")
    if kind == "cuda":
        os.environ["CUDA_VISIBLE_DEVICES"] = number
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = number
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(number)})


def default_slots() -> tuple[str, ...]:
    """Name the places to use by default: every device, or as many cores as memory holds engines."""
    slots = engine_slots()
    if slots[0].startswith("cuda") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return slots
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return slots[: max(1, memory // (ENGINE_GIB * 1024**3))]


def cores() -> list[int]:
    """Number the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
