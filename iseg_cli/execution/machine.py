"""How a run fits the machine: images at a time, threads, memory."""

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import torch

from iseg_cli.backbones.loading import DiffusionModel, choose_device, choose_dtype, load_model
from iseg_cli.backbones.unet_layout import attended_side
from iseg_cli.config import Settings
from iseg_cli.errors import SettingsError
from iseg_cli.storage import holds_masks
from iseg_cli.storage.run_info import read_info

T = TypeVar("T")

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of mallopt, in glibc's malloc.h


def open_model(settings: Settings, *, decoder: bool = False) -> DiffusionModel:
    """Load the model of the settings, on the device and in the type that they ask for.

    Raises:
        ModelNotFoundError: it is nowhere to be had.
        SettingsError: no such device or type.
    """
    device = choose_device(settings.runtime.device)
    dtype = choose_dtype(settings.runtime.dtype, device)
    return load_model(settings.model, device=device, dtype=dtype, decoder=decoder, vae=settings.vae)


def configure_threads(
    model: DiffusionModel, batch_size: int, *, threads: int | None = None
) -> None:
    """Make this process ready to work with a model in batches; on a GPU nothing is to be done.

    Args:
        model: the model.
        batch_size: images at a time.
        threads: for PyTorch on a CPU, at most; None for as many as it takes by itself.
    """
    if model.device.type == "cpu":
        keep_freed_memory()
        torch.set_num_threads(whole_image_threads(batch_size, threads or torch.get_num_threads()))


def choose_batch_size(settings: Settings, model: DiffusionModel, out: Path | None) -> int:
    """Return the batch size; `auto` keeps that of the run which is resumed in a folder, if any.

    Args:
        settings: what is asked for, and which attention is read.
        model: the model.
        out: the folder of an earlier run; None where none counts.
    """
    wanted: int | Literal["auto"] = settings.runtime.batch_size
    if wanted != "auto":
        return wanted
    earlier = earlier_batch_size(out) if out is not None else None
    return fitting_batch_size(model, grid_side(model, settings)) if earlier is None else earlier


def grid_side(model: DiffusionModel, settings: Settings) -> int:
    """Return the side of the grid that an image's maps lie on while they are refined.

    It is that of `capture.self_layer`; without categories segments are found on the full grid.
    """
    if settings.task == "unsupervised":
        return model.latent_side
    layer = settings.capture.self_layer
    return attended_side(model.unet.config, layer, side=model.latent_side)


def earlier_batch_size(out: Path) -> int | None:
    """Return the batch size of the run in a folder, if there is one that has made a mask."""
    earlier = read_info(out)
    if earlier is None or not isinstance(earlier.batch_size, int) or not holds_masks(out):
        return None
    return earlier.batch_size


def fitting_batch_size(model: DiffusionModel, side: int) -> int:
    """Return a batch size that should fit: a power of two, at most 32.

    On a GPU an image is reckoned at six float32 copies of its self-attention (captured, reduced
    and the room their computation takes). On a CPU the size of its latents counts: what the caches
    of a few cores profit from.

    Args:
        model: the model.
        side: of the grid whose self-attention is kept, as `grid_side` returns it.
    """
    if model.device.type != "cuda":
        return 8 if model.latent_side**2 <= 1024 else 1
    free, _ = torch.cuda.mem_get_info(model.device)
    fitting = int(0.6 * free / (6 * 4 * side**4))
    return 2 ** max(0, min(fitting, 32).bit_length() - 1) if fitting else 1


def whole_image_threads(batch_size: int, threads: int) -> int:
    """Return how many of some threads to use, so that each works on whole images of a batch.

    Where threads meet inside an image, sums are rounded by where in its batch an image lies, and
    its mask could depend on its neighbours. A single image always lies first.
    """
    if batch_size == 1:
        return threads
    return max(count for count in range(1, threads + 1) if batch_size % count == 0)


def fit_batch(size: int, attempt: Callable[[int], T]) -> T:
    """Return what an attempt gives with a batch size, halved as long as memory does not suffice.

    Args:
        size: the first to try.
        attempt: what a batch of a size is to go through; torch.OutOfMemoryError where it cannot.

    Raises:
        SettingsError: not even one image fits.
    """
    while True:
        try:
            return attempt(size)
        except torch.OutOfMemoryError:
            if size == 1:
                raise SettingsError(
                    "not even one image at a time fits into the memory of the device; free some, "
                    "pass --dtype float16 or another --device"
                ) from None
        size //= 2
        torch.cuda.empty_cache()


def keep_freed_memory() -> None:
    """Let memory that was freed serve the next tensor, where the C library is glibc.

    It gives large blocks back to the system at once, and the next one has to be mapped and zeroed
    page by page, which on a CPU costs a good part of the time. What a process takes stays bounded
    by the most that it needed at one time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**26)
