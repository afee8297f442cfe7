"""Cityscapes: leftImg8bit and gtFine, as 19 train ids or as 27 classes."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from iseg_cli.errors import DataError
from iseg_cli.readers.base import (
    Reader,
    relabel,
    require_folder,
    require_label_set,
    require_split,
)
from iseg_cli.readers.images import load_labels
from iseg_cli.readers.tables import load_label_set

SPLITS = ("train", "val", "test", "train_extra")
LABEL_SETS = ("cityscapes", "cityscapes-27")
LAST_LABEL_ID = 33
"""The greatest id in *_labelIds.png; the licence plate's -1 is never painted there."""

_IMAGE_END = "_leftImg8bit.png"


class CityscapesReader(Reader):
    """Images in leftImg8bit/<split>/<city>/, truth in gtFine (train_extra: gtCoarse).

    Ids are `<city>/<city>_<sequence>_<frame>`. Label ids outside the label set are ignored (255).
    """

    name: ClassVar[str] = "cityscapes"

    def __init__(self, root: Path, *, split: str = "train", label_set: str = "cityscapes") -> None:
        require_split(split, SPLITS, name=self.name)
        require_label_set(label_set, LABEL_SETS, name=self.name)
        self._images = require_folder(
            root / "leftImg8bit" / split, what=f"with the images of Cityscapes' {split}"
        )
        self._truth_kind = "gtCoarse" if split == "train_extra" else "gtFine"
        super().__init__(
            root,
            split=split,
            label_set=load_label_set(label_set),
            image_ids=sorted(
                path.relative_to(self._images).as_posix().removesuffix(_IMAGE_END)
                for path in self._images.glob(f"*/*{_IMAGE_END}")
            ),
        )

    @property
    def has_truth(self) -> bool:
        """Whether the split's folder of masks exists; `test` has none that is public."""
        return self.split != "test" and (self.root / self._truth_kind / self.split).is_dir()

    def image_path(self, image_id: str) -> Path:
        """Return leftImg8bit/<split>/<id>_leftImg8bit.png."""
        return self._images / f"{image_id}{_IMAGE_END}"

    def _read_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        if self.split == "test":  # the files in gtFine/test are dummies without a single class
            raise DataError("cityscapes keeps the truth of its test split to itself; use val")
        folder = self.root / self._truth_kind / self.split
        path = folder / f"{image_id}_{self._truth_kind}_labelIds.png"
        labels = relabel(
            load_labels(path), self.label_set, path, last=LAST_LABEL_ID, name=self.name
        )
        return labels, path
