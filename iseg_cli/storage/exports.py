"""Masks as COCO results, scores as compressed arrays."""

import json
import re
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float16, Int64

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.files import atomic_file
from iseg_cli.storage.folder import PredictionFolder
from iseg_cli.storage.masks import read_mask
from iseg_cli.types import Category, LabelSet, Mask, SourceIds

_COCO_NAME = re.compile(r"(?:COCO_[a-z]+\d{4}_)?(\d+)")


class RleSummary(NamedTuple):
    """What `write_rle` wrote.

    Attributes:
        images: how many masks it read.
        segments: how many entries it wrote: one for each category present in an image.
        integer_ids: whether all image ids are integers as in COCO's own files.
        left_out: names of classes without entries: the dataset's annotation file lacks them, and
            has another class under the table's id.
    """

    images: int
    segments: int
    integer_ids: bool
    left_out: tuple[str, ...] = ()


def write_rle(
    path: Path,
    folder: PredictionFolder,
    label_set: LabelSet,
    source_ids: SourceIds | None = None,
) -> RleSummary:
    """Write the folder's masks as a COCO results file, which `COCO.loadRes` reads.

    One entry for each category present in an image: run-length encoded, of score 1. Background
    and ignored pixels have none. Memory does not grow with the number of images.

    Args:
        path: the file to write.
        folder: the masks.
        label_set: what their labels mean.
        source_ids: the ids that the dataset's annotation file has for images and classes; images
            that it lacks have no entry. Without such a file, image ids are COCO's numbers where
            all names hold one, else the names.
    """
    legend = folder.legend(label_set)
    finished = folder.finished()
    image_ids = [i for i in folder.records if i in finished]
    names: Mapping[str, str | int]
    if source_ids is None:
        names = _coco_ids(image_ids) or {i: i for i in image_ids}
    else:
        names = source_ids.images
        image_ids = [i for i in image_ids if i in names]
    category_ids = _category_ids(label_set, source_ids)
    segments = 0
    left_out: set[str] = set()
    with atomic_file(path, shared_name=True) as file:
        file.write(b"[")
        for image_id in image_ids:
            mask = read_mask(folder.mask_path(image_id), legend)
            for category in label_set.select(mask.present()):
                if category.id not in category_ids:
                    left_out.add(category.name)
                    continue
                entry = _entry(mask, category.id, names[image_id], category_ids[category.id])
                file.write(b",\n" if segments else b"\n")
                file.write(json.dumps(entry).encode())
                segments += 1
        file.write(b"\n]\n")
    all_integers = all(isinstance(names[i], int) for i in image_ids)
    return RleSummary(len(image_ids), segments, all_integers, tuple(sorted(left_out)))


def _coco_ids(image_ids: Collection[str]) -> dict[str, int] | None:
    """Return COCO's integers: 9 for `COCO_train2014_000000000009` or `000000000009`.

    None where some name has no number or two names have the same one.
    """
    matches = {image_id: _COCO_NAME.fullmatch(image_id) for image_id in image_ids}
    numbers = {i: int(match[1]) for i, match in matches.items() if match is not None}
    return numbers if len(set(numbers.values())) == len(matches) else None


def _entry(mask: Mask, label: int, image_id: str | int, category_id: str | int) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    run_lengths = coco_mask.encode(np.asfortranarray(mask.labels == label, np.uint8))
    return {
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": {
            "size": [int(side) for side in run_lengths["size"]],
            "counts": run_lengths["counts"].decode("ascii"),
        },
        "score": 1.0,
    }


def _category_ids(label_set: LabelSet, source_ids: SourceIds | None) -> dict[int, str | int]:
    """Return the id of each label's class: the annotation file's, else the table's.

    A class that the annotation file lacks has none where the file uses the table's id for another.
    """
    known: Mapping[int, str | int] = {} if source_ids is None else source_ids.classes
    taken = set(known.values())
    own = {c.id: _table_id(c) for c in label_set.categories if c.id not in known}
    return {**known, **{label: number for label, number in own.items() if number not in taken}}


def _table_id(category: Category) -> int:
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
