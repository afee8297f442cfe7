"""What the two trainings share: checkpoints that survive a kill, averaged weights, a log."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


@dataclass
class Progress:
    """How far a training got: optimiser steps done and samples seen."""

    step: int = 0
    samples: int = 0


class Average:
    """Exponential moving average of weights: short at first, `longest` late."""

    def __init__(self, parameters: list[nn.Parameter], longest: float) -> None:
        self.parameters = parameters
        self.longest = longest
        self.values = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights after optimiser step `step` (from 0)."""
        keep = min(self.longest, (1 + step) / (10 + step))
        current = [parameter.detach() for parameter in self.parameters]
        torch._foreach_lerp_(self.values, current, 1 - keep)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average with the weights; call it again to put them back."""
        for value, parameter in zip(self.values, self.parameters, strict=True):
            kept = value.clone()
            value.copy_(parameter)
            parameter.copy_(kept)


def _named(module: nn.Module) -> dict[str, Tensor]:
    """A module's weights as safetensors wants them: contiguous and without sharing."""
    return {key: value.detach().clone() for key, value in module.state_dict().items()}


def save_checkpoint(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: Average,
    progress: Progress,
) -> None:
    """Write weights, average, optimiser, progress and random state; rename when complete."""
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    save_file(_named(module), part / "weights.safetensors")
    average.swap()
    save_file(_named(module), part / "average.safetensors")
    average.swap()
    state = {
        "optimiser": optimiser.state_dict(),
        "step": progress.step,
        "samples": progress.samples,
        "random": torch.get_rng_state(),
    }
    torch.save(state, part / "state.pt")
    old = folder.with_name(f"{folder.name}.old")
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    if old.exists():
        for file in old.iterdir():
            file.unlink()
        old.rmdir()


def load_checkpoint(
    folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer, average: Average
) -> Progress:
    """Take up the last complete checkpoint; a fresh start where there is none."""
    if not folder.exists():
        folder = folder.with_name(f"{folder.name}.old")
        if not folder.exists():
            return Progress()
    module.load_state_dict(load_file(folder / "average.safetensors"))
    average.swap()
    module.load_state_dict(load_file(folder / "weights.safetensors"))
    state: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True)
    optimiser.load_state_dict(state["optimiser"])
    torch.set_rng_state(state["random"])
    return Progress(state["step"], state["samples"])


def append_row(path: Path, row: dict[str, float | int | str]) -> None:
    """Add a line to a CSV file, with its header first where it is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def mark_running(work: Path) -> None:
    """Leave the process id in the work folder, for whoever wants to pause or stop it."""
    (work / "training.pid").write_text(f"{os.getpid()}\n", "utf-8")


def falling_rate(step: int, *, steps: int, warmup: int, peak: float, last: float) -> float:
    """Learning rate: linear up over `warmup` steps, then linear down from `peak` to `last`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak + (last - peak) * (step - warmup) / max(1, steps - warmup)
