"""The matrix tiles of Intel's CPUs (AMX), which the kernel gives to a process that asks for them."""

import torch


def use_matrix_tiles() -> None:
    """Ask the kernel for leave to use the tiles, where the CPU has them.

    vLLM's attention uses them unasked; only the larger products of oneDNN ask, so that the engine of a small model would end
    with an illegal instruction.
    """
    if torch.cpu._is_amx_tile_supported() and not torch.cpu._init_amx():
        raise OSError("vLLM uses the matrix tiles that the CPU has (AMX), got none from the kernel")
