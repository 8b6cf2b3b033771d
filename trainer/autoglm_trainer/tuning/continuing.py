"""What a training goes on from besides its weights: Adam's means and torch's random generators, as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

_STATE = "optimizer.safetensors"
_KINDS = ("step", "exp_avg", "exp_avg_sq")


def save_state(
    folder: Path, optimizer: torch.optim.Optimizer, trained: Mapping[str, Tensor], device: torch.device
) -> None:
    """Write the optimiser's state of the weights `trained` and the generators' of the CPU and of `device`."""
    state = {f"{kind}:{name}": each for name, value in trained.items() for kind, each in optimizer.state[value].items()}
    state["generator:cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        state["generator:cuda"] = torch.cuda.get_rng_state(device)
    save_file(state, folder / _STATE)


def load_state(
    folder: Path, optimizer: torch.optim.Optimizer, trained: Mapping[str, Tensor], device: torch.device
) -> None:
    """Put back what `save_state` wrote, each where the optimiser looks for it."""
    state = load_file(folder / _STATE)
    # A fused kernel counts the steps on the device that trains, any other on the CPU.
    counts = device if optimizer.defaults.get("fused") else torch.device("cpu")
    for name, value in trained.items():
        optimizer.state[value] = {
            kind: state[f"{kind}:{name}"].to(counts if kind == "step" else device)
            for kind in _KINDS
            if f"{kind}:{name}" in state
        }
    torch.set_rng_state(state["generator:cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["generator:cuda"], device)
