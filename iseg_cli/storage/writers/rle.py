"""The writer of a COCO results file: the masks of the whole run, run-length encoded."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from iseg_cli.storage.files import atomic_file
from iseg_cli.storage.masks import read_mask
from iseg_cli.storage.writers.base import FinishedMasks, ImageOutput, OutputWriter
from iseg_cli.types import Category, LabelSet, Mask, SourceIds

_COCO_NAME = re.compile(r"(?:COCO_[a-z]+\d{4}_)?(\d+)")


class RleWriter(OutputWriter):
    """Writes all masks of a run as one COCO results file, at the end of the run."""

    name = "rle"
    help = "Also write all masks as one COCO results file."
    takes_file = True

    def exists(self, image_id: str) -> bool:
        """Return True: the file is written from masks that exist."""
        return True

    def write(self, output: ImageOutput) -> None:
        """Do nothing: the file is written at the end of the run."""

    def remove(self, image_id: str) -> None:
        """Do nothing: the file does not lie in the output folder."""

    def finish(
        self, masks: FinishedMasks, label_set: LabelSet, source_ids: SourceIds | None
    ) -> tuple[str, ...]:
        """Write the file; return what a user should know about it, a sentence each."""
        if self.file is None:
            raise ValueError("a COCO results file needs a path")
        written = write_rle(self.file, masks, label_set, source_ids)
        notes: tuple[str, ...] = ()
        if written.left_out:
            notes += (
                f"{self.file} has no entries of {', '.join(written.left_out)}: the dataset's "
                "annotation file lacks these classes and uses their ids for other classes",
            )
        if not written.segments:
            notes += (
                f"{self.file} has no segments: none of the {written.images} masks has a category; "
                "COCO.loadRes refuses an empty list",
            )
        return notes


class RleSummary(NamedTuple):
    """The contents of a COCO results file.

    Attributes:
        images: how many masks `write_rle` read.
        segments: how many entries it wrote: one for each category that is present in an image.
        integer_ids: whether all image ids are integers, as in COCO's own files.
        left_out: names of classes without entries: the dataset's annotation file lacks them and
            uses the table's id for another class.
    """

    images: int
    segments: int
    integer_ids: bool
    left_out: tuple[str, ...] = ()


def write_rle(
    path: Path,
    masks: FinishedMasks,
    label_set: LabelSet,
    source_ids: SourceIds | None = None,
) -> RleSummary:
    """Write masks as a COCO results file, which `COCO.loadRes` reads.

    The file has one entry for each category present in an image: run-length encoded, of score 1.
    Background and ignored pixels have no entry. Memory does not grow with the number of images.

    Args:
        path: the file to write.
        masks: the masks of a run.
        label_set: what their labels mean.
        source_ids: the ids of images and classes in the dataset's annotation file. An image that
            the file lacks has no entry. Without such a file, image ids are COCO's numbers if all
            names hold a number, otherwise the names.
    """
    legend = masks.legend(label_set)
    finished = masks.finished()
    image_ids = [i for i in masks.records if i in finished]
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
            mask = read_mask(masks.mask_path(image_id), legend)
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

    None if a name has no number or two names have the same number.
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
    """Return the id of each label's class: the annotation file's id, otherwise the table's.

    A class that the annotation file lacks has no id if the file uses the table's id for another.
    """
    known: Mapping[int, str | int] = {} if source_ids is None else source_ids.classes
    taken = set(known.values())
    own = {c.id: _table_id(c) for c in label_set.categories if c.id not in known}
    return {**known, **{label: number for label, number in own.items() if number not in taken}}


def _table_id(category: Category) -> int:
    """Return the id that the dataset's own files use, if there is exactly one."""
    return category.source_ids[0] if len(category.source_ids) == 1 else category.id
