"""Loops over images, of `iseg generate` and of the plain path, timed by the files that they write.

Both are timed in the same way: from the moment when the masks of the first batch are written to the
moment when the last masks are written. Loading, warm-up and compilation are not counted. Decoding
and writing are counted.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from iseg_cli.backbones.loading import choose_device
from iseg_cli.benchmark.mask_speed import Loop
from iseg_cli.benchmark.plain_segmenter import PlainSegmenter
from iseg_cli.benchmark.timing import peak_memory, reset_peak_memory
from iseg_cli.config import Settings
from iseg_cli.errors import DataError
from iseg_cli.execution.device import open_model
from iseg_cli.execution.iteration import map_ahead
from iseg_cli.execution.run_setup import fitting_background, label_source, open_reader
from iseg_cli.generation.generate import generate
from iseg_cli.readers.decoding import load_image
from iseg_cli.segmentation.segmenter import fit_input
from iseg_cli.storage import encode_mask, read_mask, write_atomically
from iseg_cli.types import Category


def run_generate(settings: Settings, *, batch_size: int, images: int, out: Path) -> Loop:
    """Run `iseg generate`, and return its speed and peak memory.

    Args:
        settings: as for `generate`; `batch_size` replaces their batch size.
        batch_size: the number of images in a batch.
        images: the number of images: a multiple of the batch size, at least two batches.
        out: the output folder.

    Raises:
        DataError: an image failed.
        SettingsError: a batch does not fit into memory.
    """
    runtime = settings.runtime.model_copy(update={"batch_size": batch_size})
    device = choose_device(settings.runtime.device)
    reset_peak_memory(device)
    forget_compiled(settings)
    with _restored_threads():
        summary = generate(settings.model_copy(update={"runtime": runtime}), out=out, limit=images)
    if summary.failed:
        image_id, reason = next(iter(summary.failed.items()))
        raise DataError(f"image {image_id} cannot be measured: {reason}")
    rate = _rate(sorted(out.rglob("*.png")), first=batch_size)
    return Loop(images, rate, peak_memory(device))


def run_plain(settings: Settings, *, images: int, out: Path) -> Loop:
    """Run the plain path over the same images, and return its speed and peak memory.

    Threads decode images ahead. The plain path is never compiled and always uses the model's own
    autoencoder.

    Args:
        settings: as for `generate`.
        images: the number of images, at least two.
        out: the output folder.
    """
    reader = open_reader(settings)
    settings = fitting_background(settings, reader.label_set)
    source = label_source(settings, reader)
    device = choose_device(settings.runtime.device)
    reset_peak_memory(device)
    model = open_model(settings.model_copy(update={"vae": "own"}))
    segmenter = PlainSegmenter(model, settings, reader.label_set)

    def prepare(image_id: str) -> tuple[str, np.ndarray, tuple[int, int], tuple[Category, ...]]:
        sample = reader.sample(image_id)
        pixels, size = fit_input(load_image(sample.image_path), settings, model.image_size)
        return image_id, pixels, size, source.labels(sample)

    palette = reader.label_set.palette
    workers = settings.runtime.workers
    with _restored_threads(), ThreadPoolExecutor(workers, "decode") as decoders:
        chosen = reader.image_ids[:images]
        for image_id, pixels, size, named in map_ahead(decoders, prepare, chosen, 2 * workers):
            mask = segmenter.segment(pixels, named, size)
            write_atomically(out / f"{image_id}.png", encode_mask(mask, palette))
    rate = _rate(sorted(out.rglob("*.png")), first=1)
    return Loop(len(chosen), rate, peak_memory(device))


def forget_compiled(settings: Settings) -> None:
    """Forget compiled code, so that every batch size is compiled for its own shapes."""
    if settings.compile:
        torch.compiler.reset()


def equal_pixels(one: Path, other: Path) -> float:
    """Return the share of equal pixels in the masks that both folders have."""
    equal = total = 0
    for path in one.rglob("*.png"):
        twin = other / path.relative_to(one)
        if not twin.exists():
            continue
        same = read_mask(path).labels == read_mask(twin).labels
        equal += int(same.sum())
        total += same.size
    if not total:
        raise ValueError(f"{one} and {other} share no mask")
    return equal / total


def _rate(files: Sequence[Path], *, first: int) -> float:
    """Return files written per second, counted after the first `first` files."""
    written = sorted(path.stat().st_mtime_ns for path in files)
    return (len(written) - first) / (1e-9 * (written[-1] - written[first - 1]))


@contextmanager
def _restored_threads() -> Iterator[None]:
    """Restore the number of threads at the end of a block."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
