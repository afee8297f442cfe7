"""Reads an instances JSON in COCO's format into checked values."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from iseg_cli.errors import DataError
from iseg_cli.readers.coco.categories import category_key, read_categories
from iseg_cli.readers.coco.classes import Classes, choose_classes
from iseg_cli.readers.coco.fault_counts import FaultCounts, FaultKind
from iseg_cli.readers.coco.files import ImageFolders, is_file
from iseg_cli.readers.coco.images import ImageEntry, ImageList, read_images
from iseg_cli.readers.coco.json_values import Identity, flag, identity, number, shown
from iseg_cli.readers.coco.segmentations import Shape, ShapeError, check_shape
from iseg_cli.types import LabelSet

_LOOKED_AT = 50
"""The number of images that are looked for before their folder is reported as missing."""
_NO_OBJECT = FaultKind("it is no object", "they are no objects")
_NO_IMAGE = FaultKind("it has no image_id", "they have no image_id")
_OTHER_IMAGE = FaultKind("it belongs to no image there", "they belong to no image there")
_NO_CATEGORY = FaultKind("it has no category_id", "they have no category_id")
_OTHER_CATEGORY = FaultKind(
    "its category is none of the file's categories",
    "their category is none of the file's categories",
)
_NO_SHAPE = FaultKind("annotation without segmentation", "annotations without segmentation")
_FLAWED = FaultKind("annotation", "annotations")
_NO_POLYGONS = FaultKind(
    "polygon that is not three points or more, x and y in turn,",
    "polygons that are not three points or more, x and y in turn,",
)


class Annotation(NamedTuple):
    """One object of the file.

    Attributes:
        name: its id, for messages.
        category: the id of its category, for comparison.
        is_crowd: whether it is a group of objects.
        area: its area in pixels; None if the file has none, so that of its mask counts.
        shape: its segmentation; None if it has none that can be decoded.
    """

    name: int | str
    category: Identity
    is_crowd: bool
    area: float | None
    shape: Shape | None


class LabelledObject(NamedTuple):
    """One object with its label; the other attributes are those of `Annotation`."""

    name: int | str
    label: int
    is_crowd: bool
    area: float | None
    shape: Shape | None


@dataclass(frozen=True)
class Instances:
    """The contents of an instances JSON.

    Attributes:
        path: the file.
        folders: the folders of its images.
        images: the images by image id.
        refused: the names that no image or mask can have -> what is wrong with each.
        annotations: the annotations by image id; None if the file has no `annotations`.
        classes: the labels of its categories.
        crowds: the number of annotations that are crowds.
        total: the number of annotations.
        notes: what was left out, one sentence each.
    """

    path: Path
    folders: ImageFolders
    images: Mapping[str, ImageEntry]
    refused: Mapping[str, str]
    annotations: Mapping[str, Sequence[Annotation]] | None
    classes: Classes
    crowds: int
    total: int
    notes: tuple[str, ...]

    def image_path(self, name: str) -> Path:
        """Return the file of an image, or its likeliest path if there is none."""
        entry = self.images[name]
        return self.folders.path(entry.file_name, entry.short_name)

    def finds_images(self) -> bool:
        """Return whether the file of one of the first images exists."""
        return any(is_file(self.image_path(name)) for name in islice(self.images, _LOOKED_AT))

    def objects(self, name: str) -> list[LabelledObject]:
        """Return the objects of an image; DataError if the file has no annotations."""
        if self.annotations is None:
            raise DataError(f"{self.path} has no annotations; pass --labels file:PATH")
        labels = self.classes.labels
        return [
            LabelledObject(entry.name, labels[entry.category], *entry[2:])
            for entry in self.annotations.get(name, ())
        ]

    def part(self, names: Sequence[str]) -> "Instances":
        """Return the contents for some of the images."""
        found = self.annotations
        return replace(
            self,
            images={name: self.images[name] for name in names},
            annotations=found and {name: found[name] for name in names if name in found},
        )


def load_instances(path: Path, folders: ImageFolders, label_set: LabelSet | None) -> Instances:
    """Return the contents of an instances JSON.

    A record that cannot be used is left out and counted. Records of annotations are freed as they
    are read, so memory holds no second copy. The categories are matched to `label_set` by name;
    None makes them a label set.

    Raises:
        DataError: the file is no JSON or has no list of images, two images have one mask, or the
            label set lacks a class.
    """
    content = _load(path)
    images = read_images(_listed(content, "images", path), path, folders)
    categories = read_categories(content.get("categories"), path)
    known = None if categories is None else {category_key(entry) for entry in categories}
    annotations: dict[str, list[Annotation]] | None = None
    notes = list(images.notes)
    if content.get("annotations") is not None:
        records = _listed(content, "annotations", path)
        annotations = _read_annotations(records, images, known, path, notes)
    found = [entry for of_image in (annotations or {}).values() for entry in of_image]
    crowds = sum(entry.is_crowd for entry in found)
    if crowds and crowds == len(found):
        notes.append(
            f"all {crowds:,} annotations in {path} are crowds, which give no image-level labels "
            "and no pixels; write iscrowd 0 for single objects"
        )
    used = frozenset(entry.category for entry in found)
    classes = choose_classes(categories, used, label_set, path)
    return Instances(
        path=path,
        folders=folders,
        images=images.entries,
        refused=images.refused,
        annotations=annotations,
        classes=classes,
        crowds=crowds,
        total=len(found),
        notes=tuple(notes),
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())  # bytes: json detects UTF-8 and UTF-16
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is no readable JSON file: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} does not read like COCO's instances: it is no object")
    return content


def _listed(content: dict[str, Any], key: str, path: Path) -> list[Any]:
    value = content.get(key)
    if not isinstance(value, list):
        raise DataError(f"{path} does not read like COCO's instances: it has no list of {key}")
    return value


def _read_annotations(
    records: list[Any],
    images: ImageList,
    known: set[Identity] | None,
    path: Path,
    notes: list[str],
) -> dict[str, list[Annotation]]:
    """Return the annotations by image id; append notes on the others, and free the records."""
    left_out, flaws, total = FaultCounts(), FaultCounts(), len(records)
    found: defaultdict[str, list[Annotation]] = defaultdict(list)
    for index, record in enumerate(records):
        records[index] = None
        if not isinstance(record, dict):
            left_out.add(_NO_OBJECT, "record", record)
            continue
        image, category = record.get("image_id"), record.get("category_id")
        key = image if type(image) is int else identity(image)
        own = category if type(category) is int else identity(category)
        name = None if key is None else images.by_source.get(key)
        if name is None:
            left_out.add(_NO_IMAGE if key is None else _OTHER_IMAGE, "image_id", image)
        elif own is None:
            left_out.add(_NO_CATEGORY, "id", record.get("id"))
        elif known is not None and own not in known:
            left_out.add(_OTHER_CATEGORY, "category_id", category)
        else:
            size = images.entries[name].size if name in images.entries else None
            found[name].append(_annotation(record, own, size, flaws))
    notes += [
        f"{one.number} of {total:,} {'annotation' if total == 1 else 'annotations'} in {path} "
        f"{'was' if one.is_one else 'were'} left out: {one.kind} ({one.first})"
        for one in left_out
    ]
    notes += [
        f"{one.number} {one.kind} in {path} {'has' if one.is_one else 'have'} no part in masks "
        f"({one.first})"
        for one in flaws
    ]
    return dict(found)


def _annotation(
    record: dict[str, Any], category: Identity, size: tuple[int, int] | None, flaws: FaultCounts
) -> Annotation:
    number_of, value = record.get("id"), record.get("segmentation")
    shape: Shape | None = None
    if not value:
        flaws.add(_NO_SHAPE, "id", number_of)
    else:
        try:
            shape, dropped = check_shape(value, size)
        except ShapeError as error:
            flaws.add(_FLAWED, "id", number_of, reason=str(error))
        else:
            if dropped:
                flaws.add(_NO_POLYGONS, "annotation", number_of, count=dropped)
    area, crowd = record.get("area"), record.get("iscrowd")
    if type(area) is not float or not 0 < area < math.inf:
        area = number(area)
    return Annotation(
        number_of if isinstance(number_of, int | str) else shown(number_of),
        category,
        crowd != 0 if type(crowd) is int else flag(crowd),
        area if area is not None and area > 0 else None,
        shape,
    )
