"""The device of a run: its model, and the threads and memory of the CPU."""

import ctypes
import sys

import torch

from iseg_cli.backbones.loading import DiffusionModel, choose_device, choose_dtype, load_model
from iseg_cli.config import Settings

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of mallopt, in glibc's malloc.h


def open_model(settings: Settings, *, decoder: bool = False) -> DiffusionModel:
    """Return the model of the settings, on the device and in the type that they name.

    Args:
        settings: those of the run.
        decoder: keep the part of the autoencoder that turns latents into images.

    Raises:
        ModelNotFoundError: the model cannot be found or loaded.
        SettingsError: no such device or type.
    """
    device = choose_device(settings.runtime.device)
    dtype = choose_dtype(settings.runtime.dtype, device)
    return load_model(settings.model, device=device, dtype=dtype, decoder=decoder, vae=settings.vae)


def configure_threads(device: torch.device, batch_size: int, *, threads: int | None = None) -> None:
    """Set the threads and the memory of this process for batches on a CPU; do nothing on a GPU.

    Args:
        device: where the model is.
        batch_size: images in a batch.
        threads: the greatest number for PyTorch; None for the number that it takes by itself.
    """
    if device.type == "cpu":
        keep_freed_memory()
        torch.set_num_threads(whole_image_threads(batch_size, threads or torch.get_num_threads()))


def whole_image_threads(batch_size: int, threads: int) -> int:
    """Return the number of threads with which each thread works on whole images of a batch.

    Where several threads work on one image, the rounding of sums depends on the position of the
    image in its batch, and a mask could depend on its neighbours. A single image has one position.

    Example:
        >>> whole_image_threads(8, 3)
        2
    """
    if batch_size == 1:
        return threads
    return max(count for count in range(1, threads + 1) if batch_size % count == 0)


def keep_freed_memory() -> None:
    """Let the next tensors use memory that was freed, where the C library is glibc.

    By default glibc returns large blocks to the system at once. The system maps and clears the next
    block page by page, which takes a large share of the time on a CPU. A process still takes no
    more memory than it needed at one time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**26)
