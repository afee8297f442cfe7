"""Reads PASCAL-Context: images of VOC 2010 with a label for each pixel, 59 or 60 classes."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from iseg_cli.readers.base import Reader
from iseg_cli.readers.checks import require_folder, require_label_set, require_split
from iseg_cli.readers.file_kinds import IMAGE_SUFFIXES
from iseg_cli.readers.files_by_stem import FilesByStem
from iseg_cli.readers.image_lists import missing_image, read_ids
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.types import Sample

SPLITS = ("train", "val")
LABEL_SETS = ("context-59", "context-60")
LAST_LABEL = 59
"""The greatest label in SegmentationClassContext; 0 means no class."""


class ContextReader(Reader):
    """Images in JPEGImages, splits in ImageSets/SegmentationContext, ground truth as PNGs.

    SegmentationClassContext/<id>.png holds 0 to 59: the classes, sorted by name.
    `context-59` ignores 0, `context-60` counts it as background.
    """

    name: ClassVar[str] = "context"

    def __init__(self, root: Path, *, split: str = "val", label_set: str = "context-59") -> None:
        require_label_set(label_set, LABEL_SETS, name=self.name)
        folder = require_folder(root / "JPEGImages", what="with the images of VOC 2010")
        images = FilesByStem(folder, IMAGE_SUFFIXES)
        lists = require_folder(
            root / "ImageSets" / "SegmentationContext",
            what="with the lists of PASCAL-Context's splits",
        )
        known = sorted(path.stem for path in lists.glob("*.txt"))
        require_split(split, known, name=f"{self.name} in {root}")
        self._list = lists / f"{split}.txt"
        super().__init__(
            root,
            split=split,
            label_set=load_label_set(label_set),
            image_ids=read_ids(self._list, images),
        )
        self._files = images.resolve(self.image_ids)
        self.notes = images.notes(self._files.values())

    @property
    def has_ground_truth(self) -> bool:
        """Whether there is a folder of masks."""
        return (self.root / "SegmentationClassContext").is_dir()

    def image_path(self, image_id: str) -> Path:
        """Return the file in JPEGImages; <id>.jpg if there is none."""
        return self._files.get(image_id) or self.root / "JPEGImages" / f"{image_id}.jpg"

    def sample(self, image_id: str) -> Sample:
        """Return the image to segment; DataError if the list has it and JPEGImages lacks it."""
        sample = super().sample(image_id)
        if image_id not in self._files and not sample.image_path.is_file():
            raise missing_image(self._list, image_id, self.root / "JPEGImages")
        return sample

    def part(self, image_ids: Sequence[str]) -> "ContextReader":
        """Return a reader of some images alone, with the paths of their files."""
        part = super().part(image_ids)
        part._files = {i: self._files[i] for i in image_ids if i in self._files}
        part._masks = {i: self._masks[i] for i in image_ids if i in self._masks}
        return part

    def _read_ground_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        folder = self.root / "SegmentationClassContext"
        path = self._masks.get(image_id) or folder / f"{image_id}.png"
        return self._read_source_ids(path, last=LAST_LABEL), path

    @cached_property
    def _masks(self) -> dict[str, Path]:
        """The masks of the split's images, by id."""
        return FilesByStem(self.root / "SegmentationClassContext", (".png",)).resolve(
            self.image_ids
        )
