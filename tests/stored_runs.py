"""A run, its label set and masks, for tests of what is written to disk."""

from pathlib import Path

import numpy as np

from iseg_cli.storage import ImageRecord, PredictionFolder, RunInfo, encode_mask
from iseg_cli.types import Category, LabelSet, Mask

LABELS = LabelSet(
    "pets",
    (
        Category(1, "cat", "cat", color=(64, 0, 0), source_ids=(17,)),
        Category(2, "dog", "dog", color=(64, 0, 128), source_ids=(18,)),
    ),
)
RUN = RunInfo(
    dataset="voc",
    root="/data/voc",
    split="train",
    label_source="masks",
    task="wsss",
    model={"name": "tiny", "revision": "1"},
    settings={"refine": {"iterations": 8, "mode": "entropy"}, "gamma": 1.6},
    seed=1101,
    batch_size=4,
    dtype="float32",
    device="cpu",
    images=3,
    limit=None,
    created="2025-01-01T00:00:00+00:00",
)


def random_mask(seed: int, size: tuple[int, int] = (5, 7)) -> Mask:
    labels = np.random.default_rng(seed).choice([0, 1, 2, 255], size=size)
    return Mask(labels.astype(np.uint8))


def save(folder: PredictionFolder, image_id: str, mask: Mask) -> None:
    record = ImageRecord(image_id, mask.size, ("cat", "dog"), "done")
    folder.write(record, encode_mask(mask, LABELS.palette))


def leftovers(path: Path) -> list[str]:
    return [p.name for p in path.rglob("*") if p.name.startswith(".")]
