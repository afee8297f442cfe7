"""Masks as COCO results, scores as compressed arrays."""

import json
import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float16, Int64

from iseg_cli.errors import PredictionsError
from iseg_cli.samples import Category, LabelSet, Mask
from iseg_cli.storage.files import atomic_file
from iseg_cli.storage.folder import PredictionFolder
from iseg_cli.storage.masks import read_mask

_COCO_NAME = re.compile(r"(?:COCO_[a-z]+\d{4}_)?(\d+)")


class RleSummary(NamedTuple):
    """What `write_rle` wrote.

    Attributes:
        images: how many masks it read.
        segments: how many entries it wrote: one for each category present in an image.
        integer_ids: whether image ids are integers as in COCO's own files; otherwise they are
            the dataset's names, and an annotation file must use the same.
    """

    images: int
    segments: int
    integer_ids: bool


def write_rle(path: Path, folder: PredictionFolder, label_set: LabelSet) -> RleSummary:
    """Write the folder's masks as a COCO results file, which `COCO.loadRes` reads.

    One entry for each category present in an image: run-length encoded, of score 1. Background
    and ignored pixels have none. Category ids are those of the dataset's own files. Memory does
    not grow with the number of images.
    """
    finished = folder.finished()
    image_ids = [i for i in folder.records if i in finished]
    coco_ids = _coco_ids(image_ids)
    segments = 0
    with atomic_file(path, shared_name=True) as file:
        file.write(b"[")
        for image_id in image_ids:
            mask = read_mask(folder.mask_path(image_id))
            name = coco_ids[image_id] if coco_ids is not None else image_id
            for entry in _entries(mask, label_set, name):
                file.write(b",\n" if segments else b"\n")
                file.write(json.dumps(entry).encode())
                segments += 1
        file.write(b"\n]\n")
    return RleSummary(len(image_ids), segments, coco_ids is not None)


def _coco_ids(image_ids: Collection[str]) -> dict[str, int] | None:
    """Return COCO's integers: 9 for `COCO_train2014_000000000009` or `000000000009`.

    None where some name has no number or two names have the same one.
    """
    matches = {image_id: _COCO_NAME.fullmatch(image_id) for image_id in image_ids}
    numbers = {i: int(match[1]) for i, match in matches.items() if match is not None}
    return numbers if len(set(numbers.values())) == len(matches) else None


def _entries(mask: Mask, label_set: LabelSet, image_id: str | int) -> Iterator[dict[str, Any]]:
    from pycocotools import mask as coco_mask

    for category in label_set.select(np.unique(mask.labels).tolist()):
        run_lengths = coco_mask.encode(np.asfortranarray(mask.labels == category.id, np.uint8))
        yield {
            "image_id": image_id,
            "category_id": _dataset_id(category),
            "segmentation": {
                "size": [int(side) for side in run_lengths["size"]],
                "counts": run_lengths["counts"].decode("ascii"),
            },
            "score": 1.0,
        }


def _dataset_id(category: Category) -> int:
    """Return the id that the dataset's own files use, where there is exactly one."""
    return category.source_ids[0] if len(category.source_ids) == 1 else category.id


def write_scores(
    path: Path,
    scores: Float16[np.ndarray, "categories height width"],
    category_ids: Sequence[int],
    *,
    below: Path | None = None,
) -> None:
    """Write an image's category maps, in [0, 1], and their labels as a compressed `.npz`.

    `below` is explained at `atomic_file`.
    """
    if len(category_ids) != len(scores):
        raise ValueError(f"{len(scores)} maps but {len(category_ids)} category ids")
    ids = np.asarray(category_ids, dtype=np.int64)
    with atomic_file(path, below=below) as file:
        np.savez_compressed(file, scores=scores.astype(np.float16), category_ids=ids)


def read_scores(
    path: Path,
) -> tuple[Float16[np.ndarray, "categories height width"], Int64[np.ndarray, " categories"]]:
    """Return what `write_scores` wrote; PredictionsError where the file is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return arrays["scores"], arrays["category_ids"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise PredictionsError(f"{path} holds no scores; make them again with --scores") from error
