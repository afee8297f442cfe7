"""What every dataset offers: ids, samples, and truth behind its own method."""

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import ClassVar, TypeVar

import numpy as np
from jaxtyping import UInt8

from iseg_cli.errors import DataError, DatasetNotFoundError, SettingsError, suggestion
from iseg_cli.label_images import Legend, folder_legend, read_labels
from iseg_cli.readers.decoding import image_size
from iseg_cli.types import IGNORE, Category, LabelSet, Mask, Sample, SourceIds

DOCS = "see docs/datasets.md"
"""How the sentence of an error about a folder's layout ends."""

_LONGEST_NAME = 255 - len(".png")
"""How many bytes a part of an id may have, so that file systems can hold its mask."""

R = TypeVar("R", bound="Reader")


class Reader(ABC):
    """One split of one dataset.

    A reader checks its folders when it is made (DatasetNotFoundError names those looked for), knows
    its images by id, in a fixed order, and opens files only when asked for one of them.

    Attributes:
        name: the dataset's name.
        root: its folder.
        split: which part of it this is.
        label_set: what the labels of its masks mean.
        image_ids: the images of the split; an id may hold `/`, never `..`.
        refused: names that the dataset lists and that no mask can have, each with what is wrong
            with it; they are no images of the split, and a run reports them as failed.
        notes: what a user should know about the dataset's files, a sentence each.
        read_by_color: the masks that were read by their colours so far.
        read_from_bits: the masks of 1 bit whose white pixels were read as label 1 so far.
    """

    name: ClassVar[str]

    def __init__(
        self,
        root: Path,
        *,
        split: str,
        label_set: LabelSet,
        image_ids: Iterable[str],
        refused: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.root = root
        self.split = split
        self.label_set = label_set
        listed = tuple(dict.fromkeys(image_ids))
        odd = {i: reason for i in listed if (reason := _fault_of_name(i, root))}
        self.refused = {**refused, **odd}
        self.image_ids = tuple(i for i in listed if i not in self.refused)
        self.notes: tuple[str, ...] = ()
        self.read_by_color: set[Path] = set()
        self.read_from_bits: set[Path] = set()
        self._legends: dict[Path, Legend] = {}
        self._known = frozenset(self.image_ids)
        if not self.image_ids:
            why = next((f": {reason}" for reason in self.refused.values()), "")
            raise DatasetNotFoundError(f"split {split} of {self.name} in {root} has no images{why}")

    def __len__(self) -> int:
        return len(self.image_ids)

    @abstractmethod
    def image_path(self, image_id: str) -> Path:
        """Return the file of an image, whether or not it exists; it is not opened."""

    @property
    def annotation_notes(self) -> tuple[str, ...]:
        """What a user should know who takes image-level labels from the annotations."""
        return ()

    @property
    def source_ids(self) -> SourceIds | None:
        """What the dataset's annotation file calls images and classes; None without such a file."""
        return None

    @property
    @abstractmethod
    def has_ground_truth(self) -> bool:
        """Whether this split comes with ground truth."""

    @abstractmethod
    def _read_ground_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        """Return an image's labels as the label set numbers them, and the file they come from."""

    def sample(self, image_id: str) -> Sample:
        """Return the image to segment, its categories not known yet; no file is opened."""
        self._require(image_id)
        return Sample(image_id, self.image_path(image_id))

    def ground_truth(self, image_id: str) -> Mask:
        """Return an image's ground truth, 255 where it is to be ignored.

        DataError, naming the file, if there is none, it cannot be read, has another size than its
        image or a label outside the label set.
        """
        self._require(image_id)
        labels, source = self._read_ground_truth(image_id)
        mask, image = Mask(labels), self.image_path(image_id)
        outside = sorted(set(mask.present()) - set(self.label_set.names) - {IGNORE})
        if outside:
            raise DataError(
                f"{source} has label {outside[0]}, which label set {self.label_set.name} lacks"
            )
        if image.is_file() and (size := image_size(image)) != mask.size:
            raise DataError(
                f"the mask from {source} is {mask.size[1]} wide and {mask.size[0]} high, "
                f"but its image {image} is {size[1]} wide and {size[0]} high"
            )
        return mask

    def part(self: R, image_ids: Sequence[str]) -> R:
        """Return a reader of some of the images alone, small enough to be sent to a process.

        DataError for an image that is not of the split.
        """
        for image_id in image_ids:
            self._require(image_id)
        part = copy.copy(self)
        part.image_ids = tuple(image_ids)
        part._known = frozenset(image_ids)
        return part

    def annotated(self, image_id: str) -> tuple[Category, ...]:
        """Return an image's categories from the dataset's annotations, in the order of their ids.

        DataError where a dataset has no annotations, or the image's are missing or unreadable.
        """
        self._require(image_id)
        raise DataError(
            f"{self.name} has no annotations to take image labels from; "
            "pass --labels masks or --labels file:PATH"
        )

    def _read_labels(
        self, path: Path, legend: Legend | None = None
    ) -> UInt8[np.ndarray, "height width"]:
        """Return what the pixels of a mask mean: labels, or the ids that `legend` knows.

        Without a legend the colours of a labelmap.txt, in the mask's folder or at the root, count
        before those of the label set. DataError, naming the file, where it cannot be read.
        """
        decoded = read_labels(path, legend or self._legend(path.parent))
        if decoded.by_color:
            self.read_by_color.add(path)
        if decoded.from_bits and legend is None:
            self.read_from_bits.add(path)
        return decoded.labels

    def _legend(self, folder: Path) -> Legend:
        """Return the key to the masks of a folder that hold the labels of the label set."""
        if folder not in self._legends:
            self._legends[folder] = folder_legend(folder, self.root, label_set=self.label_set)
        return self._legends[folder]

    def _require(self, image_id: str) -> None:
        if image_id not in self._known:
            raise DataError(f"split {self.split} of {self.name} has no image {image_id!r}")


def require_folder(*candidates: Path, what: str) -> Path:
    """Return the first of some folders that exists; DatasetNotFoundError names them if none does.

    `what` says in the error what the folder is for.
    """
    for folder in candidates:
        if folder.is_dir():
            return folder
    looked_for = " or ".join(str(folder) for folder in candidates)
    raise DatasetNotFoundError(f"there is no folder {looked_for} {what}; pass --root or {DOCS}")


def require_split(split: str, known: Iterable[str], *, name: str) -> None:
    """Raise DatasetNotFoundError, with the nearest name, for a split that a dataset lacks."""
    known = tuple(known)
    if split not in known:
        raise DatasetNotFoundError(
            f"{name} has no split {split!r}{suggestion(split, known)}; it has {', '.join(known)}"
        )


def require_label_set(label_set: str, known: Iterable[str], *, name: str) -> None:
    """Raise SettingsError, with the nearest name, for a table that is none of a dataset's."""
    known = tuple(known)
    if label_set not in known:
        raise SettingsError(
            f"{name} has no label set {label_set!r}{suggestion(label_set, known)}; "
            f"it has {', '.join(known)}"
        )


def relabel(
    source_ids: UInt8[np.ndarray, "height width"],
    label_set: LabelSet,
    path: Path,
    *,
    last: int,
    name: str,
) -> UInt8[np.ndarray, "height width"]:
    """Return the labels of a mask that holds a dataset's own ids, 255 where it is to be ignored.

    Args:
        source_ids: what the file at `path` holds.
        label_set: says which ids make up which label; ids of none are ignored.
        path: named in the error.
        last: the greatest id that the dataset has; DataError for one beyond, but for 255.
        name: the dataset, as the error calls it.
    """
    unknown = source_ids[(source_ids > last) & (source_ids != IGNORE)]
    if unknown.size:
        raise DataError(f"{path} has label id {unknown[0]}; those of {name} end at {last}")
    # Every id is within the table of 256; `clip` leaves out the check of it.
    return np.take(label_set.from_source, source_ids, mode="clip")


def first_existing(*candidates: Path) -> Path:
    """Return the first of some files that exists, or else the first: errors name that one."""
    return next((path for path in candidates if path.is_file()), candidates[0])


def _fault_of_name(image_id: str, root: Path) -> str | None:
    """Return what is wrong with a name that no mask can have; None for one that a mask can."""
    # Masks are written to <image_id>.png: an id must not lead out of the folder of predictions.
    path = PurePosixPath(image_id)
    if path.is_absolute() or ".." in path.parts or "\\" in image_id or not path.name:
        return f"{root} lists an image {image_id!r}, which is no name within the dataset; rename it"
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        return f"{root} lists an image {image_id[:40]!r}..., whose name is too long; shorten it"
    return None
