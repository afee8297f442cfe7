"""Time of a function in seconds, and peak memory in bytes."""

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
"""The greatest number of times that work is timed."""
ENOUGH_SECONDS = 3.0
"""After this many seconds work is not timed again."""


def synchronise(device: torch.device) -> None:
    """Wait until a device has finished all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def median_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the median seconds of work; a first, untimed call warms up."""
    return median(_all_seconds(work, device))


def best_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the fewest seconds of work; a first, untimed call warms up."""
    return min(_all_seconds(work, device))


def reset_peak_memory(device: torch.device) -> None:
    """Start to measure peak memory anew, where the system supports it."""
    gc.collect()  # an earlier model may still be in memory
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # Linux only; elsewhere the peak covers the whole process
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Return the greatest memory in use since the reset, in bytes.

    On CUDA this is the memory of tensors on the device; elsewhere that of the whole process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _all_seconds(work: Callable[[], object], device: torch.device) -> list[float]:
    work()
    synchronise(device)
    spent: list[float] = []
    while len(spent) < ROUNDS and sum(spent) < ENOUGH_SECONDS:
        start = time.perf_counter()
        work()
        synchronise(device)
        spent.append(time.perf_counter() - start)
    return spent
