"""Cityscapes: leftImg8bit and gtFine, as 19 train ids or as 27 classes."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from iseg_cli.errors import DataError, SettingsError, suggestion
from iseg_cli.readers.base import Reader, require_folder, require_split
from iseg_cli.readers.images import load_labels
from iseg_cli.readers.tables import load_label_set
from iseg_cli.samples import IGNORE

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
        if label_set not in LABEL_SETS:
            raise SettingsError(
                f"cityscapes has no label set {label_set!r}{suggestion(label_set, LABEL_SETS)}; "
                f"it has {', '.join(LABEL_SETS)}"
            )
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
        self._from_source = np.full(256, IGNORE, dtype=np.uint8)
        for category in self.label_set.categories:
            self._from_source[list(category.source_ids)] = category.id

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
        source_ids = load_labels(path)
        unknown = source_ids[(source_ids > LAST_LABEL_ID) & (source_ids != IGNORE)]
        if unknown.size:
            raise DataError(f"{path} has label id {unknown[0]}; Cityscapes' end at {LAST_LABEL_ID}")
        return self._from_source[source_ids], path
