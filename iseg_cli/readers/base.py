"""The base class of all readers: image ids, samples, and ground truth in a method of its own."""

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import ClassVar, TypeVar

import numpy as np
from jaxtyping import UInt8

from iseg_cli.errors import DataError, DatasetNotFoundError
from iseg_cli.label_images import Legend, folder_legend, read_labels
from iseg_cli.readers.decoding import image_size
from iseg_cli.types import IGNORE, Category, LabelSet, Mask, Sample, SourceIds

_LONGEST_NAME = 255 - len(".png")
"""The greatest number of bytes of a part of an id: a file system must hold its mask."""

R = TypeVar("R", bound="Reader")


class Reader(ABC):
    """One split of one dataset.

    A reader checks its folders at construction; DatasetNotFoundError has those it looked for. The
    sequence of its images is fixed. It opens a file only when a method asks for it.

    Attributes:
        name: the name of the dataset.
        root: the folder of the dataset.
        split: the name of the split.
        label_set: the classes of its masks.
        image_ids: the ids of the images; an id may hold `/`, never `..`.
        refused: the listed names that no mask can have -> what is wrong with each. They are not in
            `image_ids`; a run reports them as failed.
        notes: what the user should know about the dataset's files, one sentence each.
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
        """Return the path of an image; the file is not opened and may be missing."""

    @property
    def annotation_notes(self) -> tuple[str, ...]:
        """What the user should know about image-level labels from the annotations."""
        return ()

    @property
    def source_ids(self) -> SourceIds | None:
        """The annotation file's ids of images and classes; None without such a file."""
        return None

    @property
    @abstractmethod
    def has_ground_truth(self) -> bool:
        """Whether this split has ground truth."""

    @abstractmethod
    def _read_ground_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        """Return the labels of an image's ground truth, and the file that has them."""

    def sample(self, image_id: str) -> Sample:
        """Return the image to segment, without categories; no file is opened."""
        self._require(image_id)
        return Sample(image_id, self.image_path(image_id))

    def ground_truth(self, image_id: str) -> Mask:
        """Return the ground truth of an image; 255 means ignore.

        DataError, with the file, if it is missing or cannot be read, if its size is not that of the
        image, or if it has a label outside the label set.
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
        """Return a reader of some images alone, which is small enough for another process.

        DataError for an image outside the split.
        """
        for image_id in image_ids:
            self._require(image_id)
        part = copy.copy(self)
        part.image_ids = tuple(image_ids)
        part._known = frozenset(image_ids)
        return part

    def annotated(self, image_id: str) -> tuple[Category, ...]:
        """Return the categories of an image from the dataset's annotations, sorted by id.

        DataError if the dataset has no annotations, or those of the image cannot be read.
        """
        self._require(image_id)
        raise DataError(
            f"{self.name} has no annotations to take image labels from; "
            "pass --labels masks or --labels file:PATH"
        )

    def _read_labels(
        self, path: Path, legend: Legend | None = None
    ) -> UInt8[np.ndarray, "height width"]:
        """Return the labels of a mask, or the values of `legend`.

        Without a legend, a labelmap.txt in the mask's folder or at the root wins over the colours
        of the label set. DataError, with the file, if it cannot be read.
        """
        decoded = read_labels(path, legend or self._legend(path.parent))
        if decoded.by_color:
            self.read_by_color.add(path)
        if decoded.from_bits and legend is None:
            self.read_from_bits.add(path)
        return decoded.labels

    def _read_source_ids(self, path: Path, *, last: int) -> UInt8[np.ndarray, "height width"]:
        """Return the labels of a mask that holds the dataset's own ids, 0 to `last` and 255.

        The `source_ids` of the label set say which ids a label has; an id of no label is ignored.
        DataError, with the file, if it has another id or cannot be read.
        """
        source_ids = self._read_labels(path, Legend.of_sources(self.label_set, last=last))
        unknown = source_ids[(source_ids > last) & (source_ids != IGNORE)]
        if unknown.size:
            raise DataError(
                f"{path} has label id {unknown[0]}; the greatest one of {self.name} is {last}"
            )
        # Every id is an index of the table of 256; mode `clip` leaves out NumPy's check of that.
        return np.take(self.label_set.from_source, source_ids, mode="clip")

    def _legend(self, folder: Path) -> Legend:
        """Return the legend of the masks in a folder, whose values are labels of the label set."""
        if folder not in self._legends:
            self._legends[folder] = folder_legend(folder, self.root, label_set=self.label_set)
        return self._legends[folder]

    def _require(self, image_id: str) -> None:
        if image_id not in self._known:
            raise DataError(f"split {self.split} of {self.name} has no image {image_id!r}")


def _fault_of_name(image_id: str, root: Path) -> str | None:
    """Return what is wrong with an image id; None if a mask can have it."""
    # A mask is written to <image_id>.png, which must be inside the output folder.
    path = PurePosixPath(image_id)
    if path.is_absolute() or ".." in path.parts or "\\" in image_id or not path.name:
        return f"{root} lists an image {image_id!r}, which is no name within the dataset; rename it"
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        return f"{root} lists an image {image_id[:40]!r}..., whose name is too long; shorten it"
    return None
