"""Seconds and bytes: how long work takes, how much memory it took at most."""

import gc
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median

import torch

ROUNDS = 10
"""How often a piece of work is timed at most."""
ENOUGH = 3.0
"""Seconds after which it is not timed again."""


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def median_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the median seconds of a piece of work, a first round left out."""
    return median(_all_seconds(work, device))


def best_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the fewest seconds that a piece of work took, a first round left out."""
    return min(_all_seconds(work, device))


def reset_peak_memory(device: torch.device) -> None:
    """Let the greatest use of memory be counted from now on, where the system can do that."""
    gc.collect()  # a model that was used before may still wait for it
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # Linux; elsewhere the process's greatest so far is told
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Return the greatest memory in use since the reset, in bytes.

    On CUDA what tensors took on the device; elsewhere what the whole process took.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _all_seconds(work: Callable[[], object], device: torch.device) -> list[float]:
    work()
    synchronise(device)
    spent: list[float] = []
    while len(spent) < ROUNDS and sum(spent) < ENOUGH:
        start = time.perf_counter()
        work()
        synchronise(device)
        spent.append(time.perf_counter() - start)
    return spent
