"""Reads PASCAL VOC 2012 and datasets in its layout, such as emoji-voc."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
from jaxtyping import UInt8

from iseg_cli.errors import DataError, DatasetNotFoundError
from iseg_cli.readers.base import Reader
from iseg_cli.readers.checks import DOCS, first_existing, require_folder, require_split
from iseg_cli.readers.file_kinds import IMAGE_SUFFIXES
from iseg_cli.readers.files_by_stem import FilesByStem
from iseg_cli.readers.image_lists import missing_image, read_ids
from iseg_cli.readers.label_tables import load_label_set, read_label_set
from iseg_cli.readers.voc_annotations import object_names
from iseg_cli.types import Category, Sample, is_background

V = TypeVar("V", bound="VocReader")

TABLE_NAME = "categories.yaml"
"""The file of a root's own category table."""

_AUGMENTED = "train_aug"
_AUGMENTED_LISTS = ("train_aug", "trainaug")
_MASKS = (".png",)


class VocReader(Reader):
    """Images in JPEGImages, splits in ImageSets/Segmentation, ground truth in SegmentationClass.

    `train_aug` is the train split with SBD's additional masks. Without its list, it has all masks
    of SegmentationClassAug that are not in `val`. A `categories.yaml` at the root, as
    `iseg synthesize` writes it, replaces VOC's category table.
    """

    name: ClassVar[str] = "voc"

    def __init__(self, root: Path, *, split: str = "train") -> None:
        folder = require_folder(root / "JPEGImages", what="with the images of VOC's layout")
        images = FilesByStem(folder, IMAGE_SUFFIXES)
        table = root / TABLE_NAME
        self._list, image_ids = _split_ids(root, split, self.name, images)
        super().__init__(
            root,
            split=split,
            label_set=read_label_set(table) if table.is_file() else load_label_set(self.name),
            image_ids=image_ids,
        )
        self._files = images.resolve(self.image_ids)
        self.notes = images.notes(self._files.values())

    def image_path(self, image_id: str) -> Path:
        """Return the file in JPEGImages; <id>.jpg if there is none."""
        return self._files.get(image_id) or self.root / "JPEGImages" / f"{image_id}.jpg"

    def sample(self, image_id: str) -> Sample:
        """Return the image to segment; DataError if the list has it and JPEGImages lacks it."""
        sample = super().sample(image_id)
        if image_id not in self._files and not sample.image_path.is_file():
            raise missing_image(self._list, image_id, self.root / "JPEGImages")
        return sample

    def part(self: V, image_ids: Sequence[str]) -> V:
        """Return a reader of some images alone, with the paths of their files."""
        part = super().part(image_ids)
        part._files = {i: self._files[i] for i in image_ids if i in self._files}
        part._masks = {i: self._masks[i] for i in image_ids if i in self._masks}
        return part

    @cached_property
    def has_ground_truth(self) -> bool:
        """Whether any image of the split has a mask."""
        return bool(self._masks)

    def annotated(self, image_id: str) -> tuple[Category, ...]:
        """Return the categories of the objects in Annotations/<id>.xml, difficult ones included."""
        self._require(image_id)
        folder = self.root / "Annotations"
        path = first_existing(*(folder / f"{image_id}{end}" for end in (".xml", ".XML")))
        names = {name for name in object_names(path) if not is_background(name)}
        try:
            categories = {self.label_set.by_name(name) for name in names}
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        return tuple(sorted(categories, key=lambda category: category.id))

    def _read_ground_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        path = self._masks.get(image_id) or self._mask_folders[0] / f"{image_id}.png"
        return self._read_labels(path), path

    @property
    def _mask_folders(self) -> list[Path]:
        folders = [self.root / "SegmentationClass", self.root / "SegmentationClassAug"]
        return folders[::-1] if self.split in _AUGMENTED_LISTS else folders

    @cached_property
    def _masks(self) -> dict[str, Path]:
        """The masks of the split's images, by id."""
        first, second = (FilesByStem(f, _MASKS).resolve(self.image_ids) for f in self._mask_folders)
        return second | first


class EmojiVocReader(VocReader):
    """The embedded dataset: scenes of emoji in VOC's layout, with its own category table."""

    name: ClassVar[str] = "emoji-voc"


def _split_ids(root: Path, split: str, name: str, images: FilesByStem) -> tuple[Path, list[str]]:
    """Return the ids of a split, and the list or the folder of masks that has them."""
    lists = root / "ImageSets" / "Segmentation"
    if not lists.is_dir():
        main = lists.with_name("Main")
        raise DatasetNotFoundError(
            f"there is no folder {lists} with the lists of splits"
            + (f", only {main}; copy a list of images from there" if main.is_dir() else "")
            + f"; pass --root, or {DOCS}, or pass --dataset folder --root {images.folder} "
            "for every image"
        )
    known = sorted(path.stem for path in lists.glob("*.txt"))
    if split == _AUGMENTED:
        for stem in _AUGMENTED_LISTS:
            if stem in known:
                return lists / f"{stem}.txt", read_ids(lists / f"{stem}.txt", images)
        return root / "SegmentationClassAug", _augmented_ids(root, lists, images)
    require_split(split, known, name=f"{name} in {root}")
    return lists / f"{split}.txt", read_ids(lists / f"{split}.txt", images)


def _augmented_ids(root: Path, lists: Path, images: FilesByStem) -> list[str]:
    """Return the ids of all masks in SegmentationClassAug that are not in `val`, sorted."""
    masks = root / "SegmentationClassAug"
    val = lists / "val.txt"
    if not masks.is_dir() or not val.is_file():
        raise DatasetNotFoundError(
            f"split {_AUGMENTED} needs {lists / 'train_aug.txt'}, "
            f"or the folder {masks} together with {val}; {DOCS}"
        )
    held_out = set(read_ids(val, images))
    return [stem for stem in FilesByStem(masks, _MASKS).stems() if stem not in held_out]
