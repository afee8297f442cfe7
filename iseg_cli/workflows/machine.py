"""How a run fits the machine: images at a time, threads."""

from pathlib import Path
from typing import Literal

import torch

from iseg_cli.diffusion.loading import DiffusionModel
from iseg_cli.storage.records import read_info


def choose_batch_size(
    wanted: int | Literal["auto"], model: DiffusionModel, out: Path | None
) -> int:
    """Return the batch size; `auto` keeps that of the run which is resumed in a folder, if any."""
    if wanted != "auto":
        return wanted
    earlier = earlier_batch_size(out) if out is not None else None
    return fitting_batch_size(model) if earlier is None else earlier


def earlier_batch_size(out: Path) -> int | None:
    """Return the batch size of the run in a folder, if there is one."""
    earlier = read_info(out)
    if earlier is None or not isinstance(earlier.batch_size, int):
        return None
    return earlier.batch_size


def fitting_batch_size(model: DiffusionModel) -> int:
    """Return a batch size that surely fits: a power of two, at most 32.

    On a GPU an image is reckoned at six float32 copies of its self-attention (captured, reduced
    and the room their computation takes), on a CPU at what the caches of a few cores profit from.
    """
    positions = model.latent_side**2
    if model.device.type != "cuda":
        return 8 if positions <= 1024 else 1
    free, _ = torch.cuda.mem_get_info(model.device)
    fitting = int(0.6 * free / (6 * 4 * positions**2))
    return 2 ** max(0, min(fitting, 32).bit_length() - 1) if fitting else 1


def whole_image_threads(batch_size: int, threads: int) -> int:
    """Return how many of some threads to use, so that each works on whole images of a batch.

    Where threads meet inside an image, sums are rounded by where in its batch an image lies, and
    its mask could depend on its neighbours. A single image always lies first.
    """
    if batch_size == 1:
        return threads
    return max(count for count in range(1, threads + 1) if batch_size % count == 0)
