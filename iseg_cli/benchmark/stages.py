"""`time_stages`: the time of each stage of a batch, measured alone.

In `iseg generate` threads decode and write while the model works. So the sum of the stages is more
than the time of an image there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from iseg_cli.benchmark.mask_speed import Stages
from iseg_cli.benchmark.timing import median_seconds
from iseg_cli.image_labels import ImageLabeler
from iseg_cli.readers.base import Reader
from iseg_cli.readers.decoding import load_image
from iseg_cli.segmentation.category_maps import assign_labels, category_maps
from iseg_cli.segmentation.segmenter import Segmenter, fit_input, label_values
from iseg_cli.storage import encode_mask, write_atomically
from iseg_cli.types import Category, Mask


@dataclass(frozen=True, eq=False)
class _Batch:
    """Decoded images with their categories."""

    images: np.ndarray
    categories: Sequence[tuple[Category, ...]]
    sizes: Sequence[tuple[int, int]]


@torch.inference_mode()
def time_stages(
    segmenter: Segmenter, reader: Reader, source: ImageLabeler, *, folder: Path
) -> Stages:
    """Return the time of each stage, measured with the first batch of a split.

    Args:
        segmenter: the segmenter, with its batch size.
        reader: the split; its first images with categories are taken.
        source: the source of their image-level labels.
        folder: a folder for masks.
    """
    device, settings = segmenter.model.device, segmenter.settings
    samples, named = _choose(reader, source, segmenter.batch_size)

    def decode() -> _Batch:
        side = segmenter.model.image_size
        prepared = [fit_input(load_image(path), settings, side) for path in samples]
        return _Batch(
            np.stack([pixels for pixels, _ in prepared]), named, [size for _, size in prepared]
        )

    batch = decode()
    extractor = segmenter.extractor
    latents = extractor.encode(batch.images)
    attention = extractor.attend(latents, batch.categories)
    maps = category_maps(attention, settings)

    def assign() -> list[Mask]:
        assigned = assign_labels(maps, attention.valid, batch.sizes, settings)
        return [
            Mask(label_values(own, reader.label_set)[label.cpu().numpy()])
            for own, (label, _) in zip(batch.categories, assigned, strict=True)
        ]

    masks = assign()

    def write() -> None:
        for index, mask in enumerate(masks):
            data = encode_mask(mask, reader.label_set.palette)
            write_atomically(folder / f"{index}.png", data)

    work = {
        "decode": decode,
        "vae": lambda: extractor.encode(batch.images),
        "unet": lambda: extractor.attend(latents, batch.categories),
        "refinement": lambda: category_maps(attention, settings),
        "assignment": assign,
        "write": write,
    }
    count = len(samples)
    return Stages(**{name: median_seconds(one, device) / count for name, one in work.items()})


def _choose(
    reader: Reader, source: ImageLabeler, count: int
) -> tuple[list[Path], list[tuple[Category, ...]]]:
    """Return files and categories of the first images that have categories."""
    paths, named = [], []
    for image_id in reader.image_ids:
        sample = reader.sample(image_id)
        categories = source.labels(sample)
        if categories:
            paths.append(sample.image_path)
            named.append(categories)
        if len(paths) == count:
            break
    return paths, named
