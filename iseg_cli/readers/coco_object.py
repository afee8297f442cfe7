"""Reads COCO-Object: COCO's 80 things and background on COCO 2017, for open vocabularies."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from iseg_cli.readers.coco.reader import CocoReader

SPLITS = ("val2017", "train2017")


class CocoObjectReader(CocoReader):
    """COCO 2017 in the layout of work on open vocabularies.

    If annotations/<split>/ has `<id>_instanceTrainIds.png` (COCO-Stuff's things as 1 to 80, all
    other pixels 0), these are the ground truth. Otherwise it is that of `CocoReader`.
    """

    name: ClassVar[str] = "coco-object"
    splits: ClassVar[tuple[str, ...]] = SPLITS
    short: ClassVar[Mapping[str, str]] = {"train": "train2017", "val": "val2017"}
    mask_patterns: ClassVar[tuple[tuple[str, str], ...]] = (
        ("annotations/{split}", "_instanceTrainIds.png"),
        *CocoReader.mask_patterns,
    )

    def __init__(self, root: Path, *, split: str = "val2017") -> None:
        super().__init__(root, split=split)
