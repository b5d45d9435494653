"""The optimiser's state and torch's random states as safetensors: no pickle, every bit kept."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

OPTIMIZER = "optimizer.safetensors"
RANDOM = "random.safetensors"


def save_trainer_state(folder: Path, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Write both files into `folder`."""
    state = optimizer.state_dict()["state"]
    flat = {f"{index}.{name}": tensor for index, entry in state.items() for name, tensor in entry.items()}
    save_file(flat, folder / OPTIMIZER)
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    save_file(states, folder / RANDOM)


def load_trainer_state(folder: Path, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Put the state of both files into an optimiser over the same parameters, and into torch."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in load_file(folder / OPTIMIZER).items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    states = load_file(folder / RANDOM)
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
