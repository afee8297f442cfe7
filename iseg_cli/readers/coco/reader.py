"""Reads COCO 2014 and 2017, and the user's own datasets in COCO's format."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
from jaxtyping import Bool, UInt8

from iseg_cli.errors import DataError, DatasetNotFoundError
from iseg_cli.readers.base import Reader
from iseg_cli.readers.checks import DOCS, first_existing, require_folder, require_split
from iseg_cli.readers.coco.classes import FROM_JSON
from iseg_cli.readers.coco.files import JSON_PATTERNS, ImageFolders, find_json, json_splits
from iseg_cli.readers.coco.instances import Instances, load_instances
from iseg_cli.readers.coco.segmentations import ShapeError, decode_shape
from iseg_cli.readers.decoding import image_size
from iseg_cli.readers.file_kinds import IMAGE_SUFFIXES
from iseg_cli.readers.files_by_stem import FilesByStem
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.types import IGNORE, Category, SourceIds

C = TypeVar("C", bound="CocoReader")

SPLITS = ("train2014", "val2014", "train2017", "val2017")


class CocoReader(Reader):
    """Images in <split>/ or images/<split>/, annotations in annotations/instances_<split>.json.

    Each JSON file is a split, in addition to COCO's own splits. Its images may also be in images/,
    in the root or beside the JSON. Its categories are matched to the category table by name, or
    they are the label set (`from-json`).

    The ground truth is in the PNGs of masks/<split>/ or coco_seg_anno/ if one of these folders
    exists (labels of the label set, 255 ignored), otherwise in the annotations. Without annotations
    the split has all images of the folder.

    Attributes:
        splits: COCO's own splits.
        short: the short names of splits in papers -> the splits.
        mask_patterns: the folders of mask PNGs, and the ends of their names.
    """

    name: ClassVar[str] = "coco"
    splits: ClassVar[tuple[str, ...]] = SPLITS
    short: ClassVar[Mapping[str, str]] = {"train": "train2014", "val": "val2014"}
    mask_patterns: ClassVar[tuple[tuple[str, str], ...]] = (
        ("masks/{split}", ".png"),
        ("coco_seg_anno", ".png"),
    )

    def __init__(self, root: Path, *, split: str = "train2014", label_set: str = "coco") -> None:
        found = json_splits(root)
        known = dict.fromkeys((*self.splits, *self.short, *found))
        if label_set == FROM_JSON and split not in known:
            raise DatasetNotFoundError(_without_json(root, split, found))
        require_split(split, known, name=self.name)
        split = split if split in found else self.short.get(split, split)
        folders_of_masks = [
            (root / pattern.format(split=split), end) for pattern, end in self.mask_patterns
        ]
        self._masks = next((found for found in folders_of_masks if _holds_masks(*found)), None)
        self._json = find_json(root, split) or root / JSON_PATTERNS[0].format(split=split)
        self._instances: Instances | None = None
        self._files: dict[str, Path] = {}
        usual = (root / split, root / "images" / split)
        what = f"with the images of split {split}"
        notes: tuple[str, ...] = ()
        table = None if label_set == FROM_JSON else load_label_set(label_set)
        if self._json.is_file():
            folders = (*usual, root / "images", root, self._json.parent)
            self._instances = load_instances(self._json, ImageFolders.of(folders), table)
            if not any(folder.is_dir() for folder in usual) and not self._instances.finds_images():
                require_folder(*usual, what=what)
        else:
            if found and not any(folder.is_dir() for folder in usual):
                raise DatasetNotFoundError(
                    f"{root} has no split {split}; it has {', '.join(found)}: pass --split"
                )
            images = require_folder(*usual, what=what)
            if table is None:
                raise DatasetNotFoundError(f"there is no {self._json} to take classes from; {DOCS}")
            if self._masks is None:
                masks = " or ".join(f"{folder}/*{end}" for folder, end in folders_of_masks)
                raise DatasetNotFoundError(f"there is neither {self._json} nor {masks}; {DOCS}")
            stems = FilesByStem(images, IMAGE_SUFFIXES)
            self._files = stems.resolve(stems.stems())
            notes = stems.notes(self._files.values())
        listed = self._instances
        super().__init__(
            root,
            split=split,
            label_set=listed.classes.label_set if listed else load_label_set(label_set),
            image_ids=sorted(listed.images if listed else self._files),
            refused=listed.refused if listed else {},
        )
        self.notes = (*listed.notes, *listed.classes.notes) if listed else notes

    @property
    def has_ground_truth(self) -> bool:
        """Whether there are masks or annotations; a JSON may list only images."""
        return self._masks is not None or (
            self._instances is not None and self._instances.annotations is not None
        )

    @property
    def annotation_notes(self) -> tuple[str, ...]:
        """A sentence about the annotations that are crowds, which give no image-level labels."""
        found = self._instances
        if found is None or found.crowds in (
            0,
            found.total,
        ):  # `Instances.notes` says it if all are crowds
            return ()
        verb, give = ("is a crowd", "gives") if found.crowds == 1 else ("are crowds", "give")
        return (
            f"{found.crowds:,} of {found.total:,} annotations in {self._json} {verb}, "
            f"which {give} no image-level labels",
        )

    @property
    def source_ids(self) -> SourceIds | None:
        """The JSON's ids of images and classes; None without a JSON."""
        if self._instances is None:
            return None
        images = {name: entry.source_id for name, entry in self._instances.images.items()}
        return SourceIds(images, self._instances.classes.source_ids)

    def image_path(self, image_id: str) -> Path:
        """Return the file of an image, as the JSON names it."""
        listed = self._instances
        return self._files[image_id] if listed is None else listed.image_path(image_id)

    def part(self: C, image_ids: Sequence[str]) -> C:
        """Return a reader of some images with their annotations alone."""
        part = super().part(image_ids)
        if self._instances is None:
            part._files = {image_id: self._files[image_id] for image_id in image_ids}
        else:
            part._instances = self._instances.part(image_ids)
        return part

    def annotated(self, image_id: str) -> tuple[Category, ...]:
        """Return the categories of an image's objects, without crowds, which its mask ignores."""
        self._require(image_id)
        if self._instances is None:
            raise DataError(f"there is no {self._json} to take image-level labels from; {DOCS}")
        objects = self._instances.objects(image_id)
        return self.label_set.select({o.label for o in objects if not o.is_crowd})

    def _read_ground_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        if self._masks is not None:
            # The name of a published mask is the number alone: 000000000009.png.
            folder, end = self._masks
            path = first_existing(*(folder / f"{x}{end}" for x in (image_id, image_id[-12:])))
            return self._read_labels(path), path
        if self._instances is None:
            raise DataError(f"there is no {self._json} to take the ground truth from; {DOCS}")
        objects = self._instances.objects(image_id)
        # If the JSON has no size, the header of the image has it.
        size = self._instances.images[image_id].size or image_size(self.image_path(image_id))
        painted = []
        for entry in objects:
            if entry.shape is None:
                continue
            try:
                mask = decode_shape(entry.shape, size)
            except ShapeError as error:
                raise DataError(f"{self._json}: annotation {entry.name}: {error}") from error
            area = float(mask.sum()) if entry.area is None else entry.area
            painted.append((area, IGNORE if entry.is_crowd else entry.label, mask))
        return paint(painted, size), self._json


def paint(
    objects: Iterable[tuple[float, int, Bool[np.ndarray, "height width"]]], size: tuple[int, int]
) -> UInt8[np.ndarray, "height width"]:
    """Return the labels of an image from (area, label, mask) objects; the background is 0.

    Larger objects are painted first, so a smaller one on them stays visible. Of equal areas the
    later object is on top. `size` is (height, width) in pixels.
    """
    labels = np.zeros(size, dtype=np.uint8)
    for _, label, mask in sorted(objects, key=lambda entry: -entry[0]):
        labels[mask] = label
    return labels


def _without_json(root: Path, split: str, found: Sequence[str]) -> str:
    """Return the sentence of an error about a split of an own dataset that has no JSON."""
    paths = " or ".join(str(root / pattern.format(split=split)) for pattern in JSON_PATTERNS)
    others = f"; {root} has the splits {', '.join(found)}" if found else ""
    return f"there is no {paths} to take classes from{others}; {DOCS}"


def _holds_masks(folder: Path, end: str) -> bool:
    """Return whether a folder holds masks; with an `end` of its own it needs one such file."""
    return folder.is_dir() and (end == ".png" or any(folder.glob(f"*{end}")))
