"""COCO 2014 and 2017: instances JSON painted into masks, or a folder of mask PNGs."""

import contextlib
import io
import json
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, TypeVar

import numpy as np
from jaxtyping import Bool, UInt8
from pycocotools.coco import COCO

from iseg_cli.errors import DataError, DatasetNotFoundError
from iseg_cli.readers.base import DOCS, Reader, first_existing, require_folder, require_split
from iseg_cli.readers.tables import load_label_set
from iseg_cli.samples import IGNORE, Category

C = TypeVar("C", bound="CocoReader")

SPLITS = ("train2014", "val2014", "train2017", "val2017")

# Warning filters belong to the process: threads that changed them at once would lose each other's.
_DECODING = threading.Lock()


class CocoReader(Reader):
    """Images in <split>/ or images/<split>/, annotations in annotations/instances_<split>.json.

    Truth comes from the PNGs in masks/<split>/ or coco_seg_anno/ where one of these folders exists
    (labels 0 to 80, 255 ignored), else from the annotations. Without annotations every image of
    the folder belongs to the split.

    Attributes:
        splits: what it has.
        short: names for splits, as papers use them.
        mask_places: the folders that PNGs are looked for in, and how their names end.
    """

    name: ClassVar[str] = "coco"
    splits: ClassVar[tuple[str, ...]] = SPLITS
    short: ClassVar[Mapping[str, str]] = {"train": "train2014", "val": "val2014"}
    mask_places: ClassVar[tuple[tuple[str, str], ...]] = (
        ("masks/{split}", ".png"),
        ("coco_seg_anno", ".png"),
    )

    def __init__(self, root: Path, *, split: str = "train2014") -> None:
        require_split(split, (*self.splits, *self.short), name=self.name)
        split = self.short.get(split, split)
        self._images = require_folder(
            root / split, root / "images" / split, what=f"with the images of COCO's {split}"
        )
        places = [(root / place.format(split=split), end) for place, end in self.mask_places]
        self._masks = next((place for place in places if _holds_masks(*place)), None)
        self._json = root / "annotations" / f"instances_{split}.json"
        self._files: dict[str, str] = {}
        self._coco: Any = None
        self._records: dict[str, int] = {}
        if self._json.is_file():
            self._coco = _load_annotations(self._json)
            for record in self._coco.imgs.values():
                image_id = _image_id(record["file_name"])
                self._files[image_id] = record["file_name"]
                self._records[image_id] = record["id"]
        elif self._masks is not None:
            self._files = {path.stem: path.name for path in self._images.glob("*.jpg")}
        else:
            folders = " or ".join(f"{folder}/*{end}" for folder, end in places)
            raise DatasetNotFoundError(f"there is neither {self._json} nor {folders}; {DOCS}")
        super().__init__(
            root, split=split, label_set=load_label_set("coco"), image_ids=sorted(self._files)
        )
        self._by_source = {
            source: category
            for category in self.label_set.categories
            for source in category.source_ids or (category.id,)
        }

    @property
    def has_truth(self) -> bool:
        """True: a split has annotations or masks, or is not opened."""
        return True

    def image_path(self, image_id: str) -> Path:
        """Return the file that the annotations name for an image."""
        return self._images / self._files[image_id]

    def part(self: C, image_ids: Sequence[str]) -> C:
        """Return a reader of some of the images with their annotations alone, not all the JSON."""
        part = super().part(image_ids)
        part._files = {image_id: self._files[image_id] for image_id in image_ids}
        if self._coco is not None:
            part._records = {image_id: self._records[image_id] for image_id in image_ids}
            part._coco = COCO()
            for number in part._records.values():
                part._coco.imgs[number] = self._coco.imgs[number]
                part._coco.imgToAnns[number] = self._coco.imgToAnns.get(number, [])
        return part

    def annotated(self, image_id: str) -> tuple[Category, ...]:
        """Return the categories of an image's objects, crowds left out as they are in its mask."""
        self._require(image_id)
        if self._coco is None:
            raise DataError(f"there is no {self._json} to take image labels from; {DOCS}")
        objects = self._annotations(image_id)
        found = {self._category(entry) for entry in objects if not entry.get("iscrowd")}
        return tuple(sorted(found, key=lambda category: category.id))

    def _read_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        if self._masks is not None:
            # Published masks are called by the number alone: 000000000009.png.
            folder, end = self._masks
            path = first_existing(*(folder / f"{x}{end}" for x in (image_id, image_id[-12:])))
            return self._read_labels(path), path
        record = self._coco.imgs[self._records[image_id]]
        size = (record["height"], record["width"])
        painted = [
            (float(entry["area"]), self._label(entry), mask)
            for entry in self._annotations(image_id)
            if (mask := self._object_mask(entry, size)) is not None
        ]
        return paint(painted, size), self._json

    def _annotations(self, image_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._coco.imgToAnns.get(self._records[image_id], [])
        return found

    def _label(self, entry: dict[str, Any]) -> int:
        return IGNORE if entry.get("iscrowd") else self._category(entry).id

    def _category(self, entry: dict[str, Any]) -> Category:
        category = self._by_source.get(entry["category_id"])
        if category is None:
            raise DataError(
                f"{self._json}: annotation {entry['id']} has category id {entry['category_id']}, "
                "which COCO's 80 classes lack"
            )
        return category

    def _object_mask(
        self, entry: dict[str, Any], size: tuple[int, int]
    ) -> Bool[np.ndarray, "height width"] | None:
        if not entry.get("segmentation"):
            return None
        try:
            with _DECODING, warnings.catch_warnings():
                # pycocotools 2.0.11 hands NumPy 2 arrays in NumPy 1's way.
                warnings.filterwarnings("ignore", "__array__", DeprecationWarning)
                mask: np.ndarray = self._coco.annToMask(entry).astype(bool)
        except Exception as error:  # pycocotools raises bare Exception among others
            raise DataError(
                f"{self._json}: annotation {entry['id']} has no readable segmentation: {error}"
            ) from error
        if mask.shape != size:
            raise DataError(
                f"{self._json}: annotation {entry['id']} is {mask.shape[1]} wide and "
                f"{mask.shape[0]} high, its image {size[1]} wide and {size[0]} high"
            )
        return mask


def paint(
    objects: Iterable[tuple[float, int, Bool[np.ndarray, "height width"]]], size: tuple[int, int]
) -> UInt8[np.ndarray, "height width"]:
    """Paint (area, label, mask) objects onto background 0, the largest first.

    So a small object on a large one stays visible; of equal areas the later one does. `size` is
    (height, width) in pixels.
    """
    labels = np.zeros(size, dtype=np.uint8)
    for _, label, mask in sorted(objects, key=lambda entry: -entry[0]):
        labels[mask] = label
    return labels


def _holds_masks(folder: Path, end: str) -> bool:
    """Whether a folder is one of masks; other PNGs may lie beside those of an ending of its own."""
    return folder.is_dir() and (end == ".png" or any(folder.glob(f"*{end}")))


def _image_id(file_name: str) -> str:
    return PurePosixPath(file_name).with_suffix("").as_posix()


def _load_annotations(path: Path) -> Any:
    """Return pycocotools' index of an instances JSON; DataError if it is not one."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no readable JSON file: {error}") from error
    index = COCO()
    index.dataset = content
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress there
            index.createIndex()
        for record in index.imgs.values():
            _ = record["file_name"], record["height"], record["width"]
        for entry in index.anns.values():
            _ = entry["category_id"], entry["area"]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} does not read like COCO's instances: {type(error).__name__} {error}"
        ) from error
    return index
