"""Reads COCO-Stuff as 27 groups of its 182 classes, for unsupervised segmentation."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from iseg_cli.errors import DataError, DatasetNotFoundError
from iseg_cli.readers.base import Reader
from iseg_cli.readers.checks import DOCS, require_folder, require_split
from iseg_cli.readers.image_lists import read_ids
from iseg_cli.readers.label_tables import load_label_set

SPLITS = ("val", "train", "val2017", "train2017")
CURATED = "Coco164kFull_Stuff_Coarse_7.txt"
"""The list of the 2,175 images of val2017 on which PiCIE, STEGO and DiffSeg are measured."""
LAST_SOURCE_ID = 181
"""The greatest value of a stuffthingmap: COCO-Stuff's class ids (1 to 182) minus one."""

_MASKS = ("stuffthingmaps/{}", "stuffthingmaps_trainval2017/{}", "annotations/{}", "annotation_{}")
_LISTS = (f"curated/{{}}/{CURATED}", f"{{}}/{CURATED}", CURATED)


class CocoStuffReader(Reader):
    """Images of COCO 2017, ground truth in the stuffthingmaps `<image_id>.png`.

    The splits `val` and `train` have the images of the curated list; `val2017` and `train2017` have
    all images.
    """

    name: ClassVar[str] = "cocostuff27"

    def __init__(self, root: Path, *, split: str = "val") -> None:
        require_split(split, SPLITS, name=self.name)
        part = f"{split.removesuffix('2017')}2017"
        self._images = require_folder(
            root / part, root / "images" / part, what=f"with the images of COCO's {part}"
        )
        masks = (root / pattern.format(part) for pattern in _MASKS)
        self._masks = next((folder for folder in masks if folder.is_dir()), None)
        every = split == part
        image_ids = (path.stem for path in self._images.glob("*.jpg"))
        super().__init__(
            root,
            split=split,
            label_set=load_label_set(self.name),
            image_ids=sorted(image_ids) if every else _curated_ids(root, part),
        )

    @property
    def has_ground_truth(self) -> bool:
        """Whether the split has a folder of stuffthingmaps."""
        return self._masks is not None

    def image_path(self, image_id: str) -> Path:
        """Return <split>/<id>.jpg."""
        return self._images / f"{image_id}.jpg"

    def _read_ground_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        if self._masks is None:
            raise DataError(
                f"{self.root} has no stuffthingmaps, the ground truth of this dataset; {DOCS}"
            )
        path = self._masks / f"{image_id}.png"
        return self._read_source_ids(path, last=LAST_SOURCE_ID), path


def _curated_ids(root: Path, part: str) -> list[str]:
    # A list at the root is the list of val2017, the only one that DiffSeg ships.
    paths = [root / name.format(part) for name in _LISTS if part == "val2017" or "{}" in name]
    for path in paths:
        if path.is_file():
            return read_ids(path)
    looked_for = " or ".join(map(str, paths))
    raise DatasetNotFoundError(
        f"there is no list {looked_for}; {DOCS}, or pass --split {part} for every image"
    )
