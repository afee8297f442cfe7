"""PASCAL-Context: the images of VOC 2010 with every pixel labelled, as 59 classes or as 60."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from iseg_cli.label_images import Legend
from iseg_cli.readers.base import (
    Reader,
    relabel,
    require_folder,
    require_label_set,
    require_split,
)
from iseg_cli.readers.lists import read_ids
from iseg_cli.readers.tables import load_label_set

SPLITS = ("train", "val")
LABEL_SETS = ("context-59", "context-60")
LAST_LABEL = 59
"""The greatest label in SegmentationClassContext; 0 is whatever belongs to none of the classes."""


class ContextReader(Reader):
    """Images in JPEGImages, splits in ImageSets/SegmentationContext, truth as PNGs.

    SegmentationClassContext/<id>.png holds 0 to 59, the classes in the order of their names.
    `context-59` ignores 0, `context-60` counts it as background.
    """

    name: ClassVar[str] = "context"

    def __init__(self, root: Path, *, split: str = "val", label_set: str = "context-59") -> None:
        require_label_set(label_set, LABEL_SETS, name=self.name)
        self._images = require_folder(root / "JPEGImages", what="with the images of VOC 2010")
        lists = require_folder(
            root / "ImageSets" / "SegmentationContext",
            what="with the lists of PASCAL-Context's splits",
        )
        known = sorted(path.stem for path in lists.glob("*.txt"))
        require_split(split, known, name=f"{self.name} in {root}")
        super().__init__(
            root,
            split=split,
            label_set=load_label_set(label_set),
            image_ids=read_ids(lists / f"{split}.txt"),
        )

    @property
    def has_truth(self) -> bool:
        """Whether there is a folder of masks."""
        return (self.root / "SegmentationClassContext").is_dir()

    def image_path(self, image_id: str) -> Path:
        """Return JPEGImages/<id>.jpg."""
        return self._images / f"{image_id}.jpg"

    def _read_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        path = self.root / "SegmentationClassContext" / f"{image_id}.png"
        legend = Legend.of_sources(self.label_set, last=LAST_LABEL)
        source_ids = self._read_labels(path, legend)
        labels = relabel(source_ids, self.label_set, path, last=LAST_LABEL, name=self.name)
        return labels, path
