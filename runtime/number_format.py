"""In which number format a machine computes."""

AUTO = "auto"
"""Leaves the choice to the machine that computes."""


def fitting_dtype(device: str = "cpu") -> str:
    """Return ``bfloat16`` where the device multiplies it, else ``float32``, by torch's names.

    Torch computes in bfloat16 on any CPU, but one number after the other where that has no instructions for it (x86 before
    AVX-512): 1.2 GFLOP/s on a core of an AMD Zen 3 that does 60 in float32.

    Parameters
    ----------
    device
        Torch's name of the device.
    """
    # Imported here: the engine's actor takes its core before torch counts the cores.
    import torch

    if torch.device(device).type != "cpu":
        return "bfloat16"
    # Builds of torch without oneDNN lack the operator that tells.
    multiplied = torch._C._has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bfloat16" if multiplied else "float32"
