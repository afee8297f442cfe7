"""Reads Cityscapes: leftImg8bit and gtFine, as 19 train ids or as 27 classes."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from iseg_cli.errors import DataError
from iseg_cli.readers.base import Reader
from iseg_cli.readers.checks import require_folder, require_label_set, require_split
from iseg_cli.readers.label_tables import load_label_set

SPLITS = ("train", "val", "test", "train_extra")
LABEL_SETS = ("cityscapes", "cityscapes-27")
TRAIN_IDS = "cityscapes"
"""The label set of the labels in *_labelTrainIds.png."""
LAST_LABEL_ID = 33
"""The greatest id in *_labelIds.png, which has no pixels of the licence plate's -1."""

_IMAGE_END = "_leftImg8bit.png"


class CityscapesReader(Reader):
    """Images in leftImg8bit/<split>/<city>/, ground truth in gtFine (train_extra: gtCoarse).

    An image id is `<city>/<city>_<sequence>_<frame>`. Label ids outside the label set are ignored
    (255). If an image has no *_labelIds.png, its *_labelTrainIds.png gives the 19 classes.
    """

    name: ClassVar[str] = "cityscapes"

    def __init__(self, root: Path, *, split: str = "train", label_set: str = "cityscapes") -> None:
        require_split(split, SPLITS, name=self.name)
        require_label_set(label_set, LABEL_SETS, name=self.name)
        self._images = require_folder(
            root / "leftImg8bit" / split, what=f"with the images of Cityscapes' {split}"
        )
        self._ground_truth_folder = "gtCoarse" if split == "train_extra" else "gtFine"
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
    def has_ground_truth(self) -> bool:
        """Whether the split's folder of masks exists; the masks of `test` are not public."""
        return (
            self.split != "test" and (self.root / self._ground_truth_folder / self.split).is_dir()
        )

    def image_path(self, image_id: str) -> Path:
        """Return leftImg8bit/<split>/<id>_leftImg8bit.png."""
        return self._images / f"{image_id}{_IMAGE_END}"

    def _read_ground_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        if self.split == "test":  # the files in gtFine/test have no class
            raise DataError(
                "the ground truth of Cityscapes' test split is not public; pass --split val"
            )
        stem = f"{image_id}_{self._ground_truth_folder}"
        folder = self.root / self._ground_truth_folder / self.split
        path, train_ids = (folder / f"{stem}_{kind}.png" for kind in ("labelIds", "labelTrainIds"))
        if path.is_file():
            return self._read_source_ids(path, last=LAST_LABEL_ID), path
        if self.label_set.name != TRAIN_IDS:
            way_out = f", or pass --label-set {TRAIN_IDS} to score the 19 classes of "
            raise DataError(
                f"there is no mask {path}, which label set {self.label_set.name} needs; add it"
                + (f"{way_out}{train_ids.name}" if train_ids.is_file() else "")
            )
        if not train_ids.is_file():
            raise DataError(f"there is no mask {path} and no {train_ids.name} beside it; add one")
        return self._read_labels(train_ids), train_ids
