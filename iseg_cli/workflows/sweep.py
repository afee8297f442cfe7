"""Many settings over the same images: attention is read once for all that share their capture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from tqdm import tqdm

from iseg_cli.config import Settings, to_dict
from iseg_cli.diffusion.extractor import Extractor
from iseg_cli.diffusion.loading import DiffusionModel
from iseg_cli.errors import SettingsError
from iseg_cli.evaluation.confusion import ConfusionMatrix
from iseg_cli.maps import AttentionMaps
from iseg_cli.readers.base import Reader
from iseg_cli.readers.images import load_image
from iseg_cli.samples import Category
from iseg_cli.segmenter import category_maps, labels
from iseg_cli.workflows.pipeline import fit_image, label_values

CAPTURE = ("prompt", "cat_cross", "capture", "cluster", "seed")
"""The settings that attention depends on; the others only change what is made of it."""


@dataclass(frozen=True, eq=False)
class _Batch:
    """Images with their true labels, which say what to segment and score the result."""

    images: np.ndarray
    categories: Sequence[tuple[Category, ...]]
    truths: Sequence[np.ndarray]


@torch.inference_mode()
def score_settings(
    model: DiffusionModel,
    reader: Reader,
    variants: Mapping[str, Settings],
    *,
    batch_size: int = 8,
    limit: int | None = None,
) -> dict[str, ConfusionMatrix]:
    """Segment a split under every variant of the settings and count the confusion of each.

    Image-level labels come from the ground truth. Nothing is written.

    Args:
        model: what reads the attention.
        reader: a split with ground truth.
        variants: settings by name; those that differ only behind the capture share one forward.
        batch_size: images at a time.
        limit: only so many images, the first of the split.

    Returns:
        A confusion matrix for each variant.

    Raises:
        SettingsError: a variant asks for fusion with CLIP, which is not read here.
    """
    fused = [name for name, settings in variants.items() if settings.fusion != "none"]
    if fused:
        raise SettingsError(
            f"{fused[0]!r} asks for fusion: {variants[fused[0]].fusion}, but only attention is read"
            " here; set fusion to none, or measure it with iseg generate and iseg evaluate"
        )
    groups: dict[str, dict[str, Settings]] = {}
    for name, settings in variants.items():
        groups.setdefault(_capture_of(settings), {})[name] = settings
    extractors = {
        key: Extractor(
            model,
            next(iter(group.values())),
            background_words=reader.label_set.background_words,
            batch_size=batch_size,
        )
        for key, group in groups.items()
    }
    counts = {name: ConfusionMatrix(reader.label_set.num_classes) for name in variants}
    image_ids = reader.image_ids[:limit]
    bar: tqdm[NoReturn] = tqdm(total=len(image_ids), unit="image", disable=None)
    with bar:
        for start in range(0, len(image_ids), batch_size):
            batch = _read(reader, image_ids[start : start + batch_size], model.image_size)
            for key, group in groups.items():
                attention = extractors[key].extract(batch.images, batch.categories)
                for name, settings in group.items():
                    _count(counts[name], batch, attention, settings, reader)
            bar.update(len(batch.truths))
    return counts


def _capture_of(settings: Settings) -> str:
    """Return a key that two settings share exactly if their attention is the same."""
    values: dict[str, Any] = to_dict(settings)
    return str([values[name] for name in CAPTURE])


def _read(reader: Reader, image_ids: Sequence[str], side: int) -> _Batch:
    samples = [reader.sample(image_id) for image_id in image_ids]
    paths: list[Path] = [sample.image_path for sample in samples]
    truths = [reader.truth(image_id).labels for image_id in image_ids]
    return _Batch(
        np.stack([fit_image(load_image(path), side) for path in paths]),
        [reader.label_set.select(np.unique(truth).tolist()) for truth in truths],
        truths,
    )


def _count(
    confusion: ConfusionMatrix,
    batch: _Batch,
    attention: AttentionMaps,
    settings: Settings,
    reader: Reader,
) -> None:
    sizes = [(truth.shape[0], truth.shape[1]) for truth in batch.truths]
    assigned = labels(category_maps(attention, settings), attention.valid, sizes, settings)
    for categories, truth, (label, _) in zip(batch.categories, batch.truths, assigned, strict=True):
        prediction = label_values(categories, reader.label_set)[label.cpu().numpy()]
        confusion.update(prediction, truth)
