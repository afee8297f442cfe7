"""What goes in and what comes out: categories, images to segment, masks. Only NumPy."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Integer, UInt8

from iseg_cli.errors import DataError, suggestion

IGNORE = 255
"""Label of pixels that neither training nor evaluation counts."""


@dataclass(frozen=True)
class Category:
    """One class of a label set.

    Attributes:
        id: the value of its pixels in a mask, 0 to 254.
        name: its name in the dataset, as reports print it.
        prompt: its words in the prompt (VOC's `aeroplane` is a `plane` to the model).
        focus: those of the prompt's words that carry the map; empty means all of them.
        color: its RGB colour in palette PNGs and overlays, 0 to 255 each.
        source_ids: the ids that the dataset's own files use for it, where they differ from `id`.
        synonyms: further words by which files of labels call it (VOC's `person` is `people`).
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
    """The classes of a dataset, and which label means background.

    Attributes:
        name: the label set's name (`voc`, `coco`, `cityscapes-27` ...).
        categories: the classes that can be segmented, in the order of their ids.
        background: the label of pixels that belong to no category, or None where every pixel
            belongs to one (Cityscapes, PASCAL-Context's 59 classes).
        background_words: what usually surrounds the classes; they end the prompt.
    """

    name: str
    categories: tuple[Category, ...]
    background: int | None = 0
    background_words: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse two categories of one name or one id, and ids that a mask cannot hold."""
        ids = [c.id for c in self.categories]
        ids += [] if self.background is None else [self.background]
        names = [name_key(c.name) for c in self.categories]
        if len(set(ids)) != len(ids) or len(set(names)) != len(names):
            raise DataError(f"label set {self.name} has two categories of one id or one name")
        if any(not 0 <= i < IGNORE for i in ids):
            raise DataError(
                f"label set {self.name} has an id outside 0 to {IGNORE - 1}; a mask holds no other"
            )

    @cached_property
    def names(self) -> dict[int, str]:
        """Every label's name in the order of the labels, background among them."""
        named = {c.id: c.name for c in self.categories}
        if self.background is not None:
            named[self.background] = "background"
        return dict(sorted(named.items()))

    @property
    def num_classes(self) -> int:
        """The size of a confusion matrix for this label set: the greatest label plus one."""
        return max(self.names) + 1

    @cached_property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """RGB colours by label; background black, the ignore label VOC's cream."""
        colors = np.zeros((256, 3), dtype=np.uint8)
        for category in self.categories:
            colors[category.id] = category.color
        colors[IGNORE] = (224, 224, 192)
        return colors

    @cached_property
    def from_source(self) -> UInt8[np.ndarray, "256"]:
        """The label of each id that the dataset's own files use; 255 for ids of no class.

        A category without `source_ids` is written by its own id, and so is background.
        """
        labels = np.full(256, IGNORE, dtype=np.uint8)
        if self.background is not None:
            labels[self.background] = self.background
        for category in self.categories:
            labels[list(category.source_ids or (category.id,))] = category.id
        return labels

    def by_id(self, label: int) -> Category:
        """Return the category of a label; DataError if no category has it."""
        if label in self._by_id:
            return self._by_id[label]
        ids = sorted(self._by_id)
        known = f"; its ids are {ids[0]} to {ids[-1]}" if ids else ""
        raise DataError(f"label set {self.name} has no category with id {label}{known}")

    def by_name(self, name: str) -> Category:
        """Return the category of a name.

        A name that is equal comes first, then one that differs in case, blanks or Unicode form
        alone, then the words of the prompts, then the synonyms. DataError, with the nearest name,
        if no category has it, and if the words are those of two.
        """
        if name in self._by_exact_name:
            return self._by_exact_name[name]
        key = name_key(name)
        for level in self._by_words:
            found = level.get(key, ())
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
    def _by_exact_name(self) -> dict[str, Category]:
        return {category.name: category for category in self.categories}

    @cached_property
    def _by_words(self) -> tuple[Mapping[str, tuple[Category, ...]], ...]:
        """The categories by their words as `name_key` writes them: names, prompts, synonyms."""
        levels: tuple[dict[str, tuple[Category, ...]], ...] = ({}, {}, {})
        for category in self.categories:
            words = ((category.name,), (category.prompt,), category.synonyms)
            for level, own in zip(levels, words, strict=True):
                for key in {name_key(word) for word in own}:
                    level[key] = (*level.get(key, ()), category)
        return levels

    def select(self, labels: Iterable[int]) -> tuple[Category, ...]:
        """Return the categories among `labels` in the order of their ids.

        Background and the ignore label are passed over; DataError for a label of no category.
        """
        passed_over = {IGNORE} if self.background is None else {IGNORE, self.background}
        return tuple(self.by_id(label) for label in sorted(set(labels) - passed_over))


@dataclass(frozen=True)
class SourceIds:
    """What a dataset's annotation file calls its images and classes.

    Attributes:
        images: its ids of images, by the image's name within the dataset.
        classes: its ids of classes, by the label in masks.
    """

    images: Mapping[str, int | str]
    classes: Mapping[int, int | str]


@dataclass(frozen=True)
class Sample:
    """One image to segment. Never ground truth.

    Attributes:
        image_id: its name within the dataset, unique; a mask is written to `<image_id>.png`.
        image_path: its file.
        size: (height, width) in pixels where it is known before decoding.
        categories: the categories to segment; empty where an image has none, None where they are
            not known yet.
    """

    image_id: str
    image_path: Path
    size: tuple[int, int] | None = None
    categories: tuple[Category, ...] | None = None


@dataclass(frozen=True, eq=False)
class Mask:
    """The labels of one image's pixels: 255 ignore, the rest as its label set says."""

    labels: UInt8[np.ndarray, "height width"]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.labels.shape
        return height, width

    def present(self) -> list[int]:
        """Return the labels that some pixel has, in ascending order."""
        flat = self.labels.ravel()
        found: list[int] = np.flatnonzero(np.bincount(flat[run_starts(flat)])).tolist()
        return found


def voc_color(label: int) -> tuple[int, int, int]:
    """Return the RGB colour, 0 to 255 each, that VOC's palette gives a label (0 to 255).

    The label's bits are dealt to red, green and blue in turn, the first ones to the highest bits.
    """
    red = green = blue = 0
    for place in range(8):
        three_bits = label >> (3 * place)
        red |= (three_bits & 1) << (7 - place)
        green |= (three_bits >> 1 & 1) << (7 - place)
        blue |= (three_bits >> 2 & 1) << (7 - place)
    return red, green, blue


def run_starts(*labels: Integer[np.ndarray, " pixels"]) -> Int64[np.ndarray, " runs"]:
    """Return where runs of equal pixels begin.

    That is at the first pixel, and at each that differs in any of the arrays from the one before.
    A mask of areas has a hundredth as many runs as pixels, so that what is asked of every run is
    answered far sooner than what is asked of every pixel.
    """
    changes = np.zeros(labels[0].size, dtype=bool)
    changes[:1] = True
    for flat in labels:
        changes[1:] |= flat[1:] != flat[:-1]
    return np.flatnonzero(changes)


def name_key(name: str) -> str:
    """Return what the names of one category have in common.

    Case, runs of blanks and the Unicode form (NFC, NFD) make no difference: a text encoder reads
    `Dog` and `dog` alike, and a Mac writes the letters of a file's name apart from their accents.

    Example:
        >>> name_key("Traffic  Light") == name_key("traffic light")
        True
    """
    folded = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFC", " ".join(folded.split()))


def is_background(name: str) -> bool:
    """Tell whether a name means the background: `background`, `_background_`, `Background` ...

    Example:
        >>> is_background("__background__")
        True
    """
    return name_key(name).strip("_") == "background"


def nfc(name: str) -> str:
    """Return a name in Unicode's composed form (UAX #15), in which equal names are equal."""
    return unicodedata.normalize("NFC", name)


def split_names(text: str) -> tuple[str, ...]:
    """Return the names between commas or line ends, without quotes around them and empty ones.

    ValueError if signs that separate names elsewhere (`;`, `|`, brackets) are part of one.

    Example:
        >>> split_names("cat, 'traffic light',")
        ('cat', 'traffic light')
    """
    names = tuple(filter(None, (_unquoted(name) for name in re.split(r"[,\r\n]", text))))
    for name in names:
        if re.search(r"[;|\[\]{}]", name):
            raise ValueError(f'{name!r} is no name of a category; write names such as "cat, dog"')
    return names


def _unquoted(name: str) -> str:
    name = name.strip()
    is_quoted = len(name) > 1 and name[0] == name[-1] and name[0] in "\"'"
    return name[1:-1].strip() if is_quoted else name
