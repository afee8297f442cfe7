"""PASCAL VOC 2012, and whatever else is laid out like it (emoji-voc)."""

from functools import cached_property
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import numpy as np
from jaxtyping import UInt8

from iseg_cli.errors import DataError, DatasetNotFoundError
from iseg_cli.readers.base import DOCS, Reader, first_existing, require_folder, require_split
from iseg_cli.readers.lists import read_ids
from iseg_cli.readers.tables import load_label_set, read_label_set
from iseg_cli.samples import Category

TABLE_NAME = "categories.yaml"
"""A category table of a root's own."""

_AUGMENTED = "train_aug"
_AUGMENTED_LISTS = ("train_aug", "trainaug")


class VocReader(Reader):
    """Images in JPEGImages, splits in ImageSets/Segmentation, truth in SegmentationClass.

    `train_aug` is the train split of SBD's additional masks: its list or, without one, every mask
    of SegmentationClassAug that is not in `val`. A root with a `categories.yaml` of its own, as
    `iseg synthesize` writes it, has that table in place of VOC's.
    """

    name: ClassVar[str] = "voc"

    def __init__(self, root: Path, *, split: str = "train") -> None:
        require_folder(root / "JPEGImages", what="with the images of VOC's layout")
        table = root / TABLE_NAME
        super().__init__(
            root,
            split=split,
            label_set=read_label_set(table) if table.is_file() else load_label_set(self.name),
            image_ids=_split_ids(root, split, self.name),
        )

    def image_path(self, image_id: str) -> Path:
        """Return JPEGImages/<id>.jpg, or the PNG of that name where only that exists."""
        folder = self.root / "JPEGImages"
        return first_existing(*(folder / f"{image_id}{end}" for end in (".jpg", ".jpeg", ".png")))

    @cached_property
    def has_truth(self) -> bool:
        """Whether any image of the split has a mask."""
        return any(self._mask_path(image_id).is_file() for image_id in self.image_ids)

    def annotated(self, image_id: str) -> tuple[Category, ...]:
        """Return the categories of the objects in Annotations/<id>.xml, difficult ones included."""
        self._require(image_id)
        path = self.root / "Annotations" / f"{image_id}.xml"
        try:
            document = ElementTree.parse(path)
        except (OSError, ElementTree.ParseError) as error:
            raise DataError(f"{path} is no readable annotation: {error}") from error
        # Only the objects' own names: parts (head, hand, foot) have names as well.
        names = {(element.text or "").strip() for element in document.iterfind("object/name")}
        try:
            categories = [self.label_set.by_name(name) for name in names]
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        return tuple(sorted(categories, key=lambda category: category.id))

    def _read_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        path = self._mask_path(image_id)
        return self._read_labels(path), path

    def _mask_path(self, image_id: str) -> Path:
        folders = [self.root / "SegmentationClass", self.root / "SegmentationClassAug"]
        if self.split in _AUGMENTED_LISTS:
            folders.reverse()
        return first_existing(*(folder / f"{image_id}.png" for folder in folders))


class EmojiVocReader(VocReader):
    """The embedded dataset: scenes of emoji in VOC's layout, with a table of its own."""

    name: ClassVar[str] = "emoji-voc"


def _split_ids(root: Path, split: str, name: str) -> list[str]:
    lists = require_folder(root / "ImageSets" / "Segmentation", what="with the lists of splits")
    known = sorted(path.stem for path in lists.glob("*.txt"))
    if split == _AUGMENTED:
        for stem in _AUGMENTED_LISTS:
            if stem in known:
                return read_ids(lists / f"{stem}.txt")
        return _augmented_ids(root, lists)
    require_split(split, known, name=f"{name} in {root}")
    return read_ids(lists / f"{split}.txt")


def _augmented_ids(root: Path, lists: Path) -> list[str]:
    """Return the ids of all masks in SegmentationClassAug but those of `val`, sorted."""
    masks = root / "SegmentationClassAug"
    val = lists / "val.txt"
    if not masks.is_dir() or not val.is_file():
        raise DatasetNotFoundError(
            f"split {_AUGMENTED} needs {lists / 'train_aug.txt'}, "
            f"or the folder {masks} together with {val}; {DOCS}"
        )
    held_out = set(read_ids(val))
    return sorted(path.stem for path in masks.glob("*.png") if path.stem not in held_out)
