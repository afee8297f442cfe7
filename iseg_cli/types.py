"""Categories, label sets, images to segment and masks. NumPy only."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Integer, UInt8

from iseg_cli.errors import DataError, suggestion

IGNORE = 255
"""The label of pixels that neither training nor evaluation counts."""


@dataclass(frozen=True)
class Category:
    """One class of a label set.

    Attributes:
        id: the label of its pixels in a mask, 0 to 254.
        name: its name in the dataset and in reports.
        prompt: its words in the prompt (`plane` for VOC's `aeroplane`).
        focus: the words of the prompt whose attention maps count; empty means all words.
        color: its RGB colour in palette PNGs and overlays, 0 to 255 each.
        source_ids: its ids in the dataset's own files; empty where they equal `id`.
        synonyms: further names of it in label files (`people` for VOC's `person`).
    """

    id: int
    name: str
    prompt: str
    focus: str = ""
    color: tuple[int, int, int] = (255, 255, 255)
    source_ids: tuple[int, ...] = ()
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelSet:
    """The classes of a dataset and the label of the background.

    Attributes:
        name: its name (`voc`, `coco`, `cityscapes-27` ...).
        categories: the classes that can be segmented, sorted by id.
        background: the label of pixels of no category; None where every pixel has a category
            (Cityscapes, PASCAL-Context's 59 classes).
        background_words: words for the usual surroundings of the classes; they end the prompt.
    """

    name: str
    categories: tuple[Category, ...]
    background: int | None = 0
    background_words: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse two categories with one name or one id, and ids that a mask cannot hold."""
        ids = [c.id for c in self.categories]
        ids += [] if self.background is None else [self.background]
        names = [name_key(c.name) for c in self.categories]
        if len(set(ids)) != len(ids) or len(set(names)) != len(names):
            raise DataError(f"label set {self.name} has two categories of one id or one name")
        if any(not 0 <= i < IGNORE for i in ids):
            raise DataError(f"label set {self.name} has an id outside 0 to {IGNORE - 1}")

    @cached_property
    def names(self) -> dict[int, str]:
        """The name of each label, the background's included, sorted by label."""
        named = {c.id: c.name for c in self.categories}
        if self.background is not None:
            named[self.background] = "background"
        return dict(sorted(named.items()))

    @property
    def num_classes(self) -> int:
        """The greatest label plus one: the number of rows of a confusion matrix."""
        return max(self.names) + 1

    @cached_property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """The RGB colour of each label. Background is black; the ignore label has VOC's cream."""
        colors = np.zeros((256, 3), dtype=np.uint8)
        for category in self.categories:
            colors[category.id] = category.color
        colors[IGNORE] = (224, 224, 192)
        return colors

    @cached_property
    def from_source(self) -> UInt8[np.ndarray, "256"]:
        """The label of each id in the dataset's own files; 255 for an id of no class.

        The background and a category without `source_ids` have the same id there as here.
        """
        labels = np.full(256, IGNORE, dtype=np.uint8)
        if self.background is not None:
            labels[self.background] = self.background
        for category in self.categories:
            labels[list(category.source_ids or (category.id,))] = category.id
        return labels

    def by_id(self, label: int) -> Category:
        """Return the category with a label; DataError if no category has it."""
        if label in self._by_id:
            return self._by_id[label]
        ids = sorted(self._by_id)
        known = f"; its ids are {ids[0]} to {ids[-1]}" if ids else ""
        raise DataError(f"label set {self.name} has no category with id {label}{known}")

    def by_name(self, name: str) -> Category:
        """Return the category with a name.

        The name is compared with the exact names first. Then case, blanks and Unicode form are
        ignored, and the names, the prompts and the synonyms are compared, in this sequence.
        DataError if no category has the name (the nearest name is given), or if two have it.
        """
        key = name_key(name)
        for level, wanted in zip(self._by_words, (name, key, key, key), strict=True):
            found = level.get(wanted, ())
            if len(found) == 1:
                return found[0]
            if found:
                raise DataError(
                    f"{name!r} may be {found[0].name!r} or {found[1].name!r} of label set "
                    f"{self.name}; write the name of one"
                )
        known = [c.name for c in self.categories]
        raise DataError(
            f"label set {self.name} has no category {name!r}{suggestion(name, known)}; "
            f"it has {', '.join(known)}"
        )

    @cached_property
    def _by_id(self) -> dict[int, Category]:
        return {category.id: category for category in self.categories}

    @cached_property
    def _by_words(self) -> tuple[Mapping[str, tuple[Category, ...]], ...]:
        """The categories by exact name, then by the `name_key` of name, prompt and synonyms."""
        exact = {category.name: (category,) for category in self.categories}
        levels: tuple[dict[str, tuple[Category, ...]], ...] = ({}, {}, {})
        for category in self.categories:
            words = ((category.name,), (category.prompt,), category.synonyms)
            for level, own in zip(levels, words, strict=True):
                for key in {name_key(word) for word in own}:
                    level[key] = (*level.get(key, ()), category)
        return exact, *levels

    def select(self, labels: Iterable[int]) -> tuple[Category, ...]:
        """Return the categories of some labels, sorted by id.

        Background and the ignore label are skipped. DataError for a label of no category.
        """
        passed_over = {IGNORE} if self.background is None else {IGNORE, self.background}
        return tuple(self.by_id(label) for label in sorted(set(labels) - passed_over))


@dataclass(frozen=True)
class SourceIds:
    """The ids that a dataset's annotation file gives to images and classes.

    Attributes:
        images: the file's id of each image, by `Sample.image_id`.
        classes: the file's id of each class, by the label in masks.
    """

    images: Mapping[str, int | str]
    classes: Mapping[int, int | str]


@dataclass(frozen=True)
class Sample:
    """One image to segment. It never holds ground truth.

    Attributes:
        image_id: its unique name within the dataset; its mask is written to `<image_id>.png`.
        image_path: its file.
        size: (height, width) in pixels; None where only decoding tells it.
        categories: the categories to segment; empty if the image has none, None if unknown.
    """

    image_id: str
    image_path: Path
    size: tuple[int, int] | None = None
    categories: tuple[Category, ...] | None = None


@dataclass(frozen=True, eq=False)
class Mask:
    """The label of each pixel of one image; 255 means ignore."""

    labels: UInt8[np.ndarray, "height width"]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.labels.shape[0], self.labels.shape[1]

    def present(self) -> list[int]:
        """Return the labels of the mask, each once, in ascending order."""
        flat = self.labels.ravel()
        found: list[int] = np.flatnonzero(np.bincount(flat[run_starts(flat)])).tolist()
        return found


def run_starts(*labels: Integer[np.ndarray, " pixels"]) -> Int64[np.ndarray, " runs"]:
    """Return the indices where runs of equal pixels begin.

    A run ends where a pixel differs from the next one in any of the arrays. Masks have about a
    hundred times fewer runs than pixels, so a computation on runs is much faster.

    Example:
        >>> run_starts(np.array([3, 3, 0, 0, 3])).tolist()
        [0, 2, 4]
    """
    changes = np.zeros(labels[0].size, dtype=bool)
    changes[:1] = True
    for flat in labels:
        changes[1:] |= flat[1:] != flat[:-1]
    return np.flatnonzero(changes)


def name_key(name: str) -> str:
    """Return the form of a name in which two names of one category are equal.

    Case, runs of blanks and the Unicode form (NFC, NFD) are removed: a text encoder reads `Dog`
    and `dog` alike, and macOS stores the accents of file names separately (NFD).

    Example:
        >>> name_key("Traffic  Light") == name_key("traffic light")
        True
    """
    return nfc(" ".join(unicodedata.normalize("NFD", name).casefold().split()))


def is_background(name: str) -> bool:
    """Return whether a name means the background: `background`, `_background_`, `Background` ...

    Example:
        >>> is_background("__background__")
        True
    """
    return name_key(name).strip("_") == "background"


def nfc(name: str) -> str:
    """Return a name in Unicode's composed form, NFC (UAX #15)."""
    return unicodedata.normalize("NFC", name)
