"""The batch size of a run: chosen, tried out, halved, and kept when the run is resumed."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.backbones.unet_layout import attended_side
from iseg_cli.config import Settings
from iseg_cli.errors import BatchMemoryError, PromptError, SettingsError
from iseg_cli.segmentation.batch_segmenter import BatchSegmenter
from iseg_cli.storage import holds_masks
from iseg_cli.storage.run_info import read_info
from iseg_cli.types import LabelSet

T = TypeVar("T")

GREATEST = 32
"""The greatest batch size that is chosen unasked."""

CLIP_BATCH_SIZE = 8
"""Images of one size, or crops, in a batch of CLIP, unless the settings name a number."""


def choose_batch_size(
    settings: Settings, model: DiffusionModel, *, earlier: int | None = None
) -> int:
    """Return the batch size of the settings; for `auto` that of an earlier run, or one that fits.

    Args:
        settings: those of the run.
        model: the model.
        earlier: the batch size of the run that is resumed; None where there is none.
    """
    wanted = settings.runtime.batch_size
    if wanted != "auto":
        return wanted
    return earlier or fitting_batch_size(model, grid_side(model, settings))


def choose_clip_batch_size(settings: Settings) -> int:
    """Return the batch size of a run of CLIP alone."""
    wanted = settings.runtime.batch_size
    return CLIP_BATCH_SIZE if wanted == "auto" else wanted


def fitting_batch_size(model: DiffusionModel, side: int) -> int:
    """Return a batch size that should fit into memory: a power of two, at most `GREATEST`.

    On a GPU an image is estimated at six float32 copies of its self-attention: the captured one,
    the reduced one and what their computation takes. On a CPU small images go in batches, so that
    its cores share them out, and large images one at a time.

    Args:
        model: the model.
        side: of the grid whose self-attention is kept, as `grid_side` returns it.
    """
    if model.device.type != "cuda":
        return 8 if model.latent_side**2 <= 1024 else 1
    free, _ = torch.cuda.mem_get_info(model.device)
    fitting = int(0.6 * free / (6 * 4 * side**4))
    return 2 ** max(0, min(fitting, GREATEST).bit_length() - 1) if fitting else 1


def grid_side(model: DiffusionModel, settings: Settings) -> int:
    """Return the side of the grid on which an image's maps are refined.

    It is the grid of `capture.self_layer`, and the full grid L for the task unsupervised.
    """
    if settings.task == "unsupervised":
        return model.latent_side
    layer = settings.capture.self_layer
    return attended_side(model.unet.config, layer, side=model.latent_side)


def first_that_fits(size: int, attempt: Callable[[int], T]) -> T:
    """Return the result of an attempt with a batch size, halved until its memory suffices.

    Args:
        size: the first batch size.
        attempt: takes a batch size; raises torch.OutOfMemoryError where memory does not suffice.

    Raises:
        SettingsError: not even one image fits.
    """
    while True:
        try:
            return attempt(size)
        except torch.OutOfMemoryError:
            if size == 1:
                raise SettingsError(lack_of_memory(1, "the device")) from None
        size //= 2
        torch.cuda.empty_cache()


def try_out(segmenter: BatchSegmenter, label_set: LabelSet) -> None:
    """Segment a full batch of black images with four categories, as many as images usually have.

    Raises:
        torch.OutOfMemoryError: memory does not suffice for the batch.
    """
    count, side = segmenter.batch_size, segmenter.model.image_size
    named = label_set.categories[:4]
    try:
        segmenter.check(named)
    except PromptError:  # the images that have these categories will be reported by name
        named = ()
    segmenter.begin_batch(
        np.zeros((count, side, side, 3), dtype=np.uint8),
        [named] * count,
        [(side, side)] * count,
        label_set,
    )()


def halve(error: BatchMemoryError, *, is_free: bool) -> int:
    """Return half the batch size that did not fit; raise the error where it cannot be halved.

    Args:
        error: what a batch raised.
        is_free: whether the batch size may change: the user named none, and no other shard of the
            run is at work.
    """
    if not is_free or error.batch_size == 1:
        raise error
    return error.batch_size // 2


def lack_of_memory(size: int, device: torch.device | str) -> str:
    """Return what a user should do where a batch does not fit into the memory of a device."""
    if size == 1:
        return (
            f"not even one image at a time fits into the memory of {device}; free some, pass "
            "--dtype float16 or another --device"
        )
    return (
        f"{size} images do not fit into the memory of {device}; pass a smaller --batch-size and, "
        "since another one rounds otherwise, --overwrite or another --out"
    )


def earlier_batch_size(out: Path) -> int | None:
    """Return the batch size of the run in an output folder; None where no mask was made."""
    earlier = read_info(out)
    if earlier is None or not isinstance(earlier.batch_size, int) or not holds_masks(out):
        return None
    return earlier.batch_size


def keep_earlier(settings: Settings, out: Path) -> Settings:
    """Return the settings with the batch size of the run that is resumed, unless one is given."""
    earlier = earlier_batch_size(out) if settings.runtime.batch_size == "auto" else None
    return settings if earlier is None else with_batch_size(settings, earlier)


def with_batch_size(settings: Settings, batch_size: int) -> Settings:
    """Return the settings with another batch size."""
    runtime = settings.runtime.model_copy(update={"batch_size": batch_size})
    return settings.model_copy(update={"runtime": runtime})
