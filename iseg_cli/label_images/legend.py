"""The legend of masks: the label of each value and each colour."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8

from iseg_cli.label_images.labelmap import find_labelmap, read_labelmap
from iseg_cli.types import IGNORE, LabelSet

Color = tuple[int, int, int]

Written = Literal["palette", "grey"]
"""How `iseg generate` writes masks: with the palette of their label set, or in grey."""

UNKNOWN = -1
"""The value of a colour that no label has."""


@dataclass(frozen=True, eq=False)
class Legend:
    """The values and colours that the pixels of some masks may have.

    Attributes:
        name: the name of the label set, for messages.
        colors: the RGB colour of each value that has one; several values may have one colour.
        values: all values that a pixel may have.
        written: how `iseg generate` wrote the masks; None for masks of other tools.
        labelmap: the value of each colour in labelmap.txt, or its name if the name has no value.
        labelmap_path: the path of labelmap.txt; None without such a file.
    """

    name: str
    colors: Mapping[int, Color]
    values: frozenset[int]
    written: Written | None = None
    labelmap: Mapping[Color, int | str] = field(default_factory=dict)
    labelmap_path: Path | None = None

    @classmethod
    def of(cls, label_set: LabelSet, *, written: Written | None = None) -> "Legend":
        """Return the legend of masks that hold the labels of a label set."""
        values = [*label_set.names, IGNORE]
        colors = {value: _color(label_set.palette[value]) for value in values}
        return cls(label_set.name, colors, frozenset(values), written)

    @classmethod
    def of_sources(cls, label_set: LabelSet, *, last: int) -> "Legend":
        """Return the legend of masks that hold a dataset's own ids, 0 to `last` and 255.

        An id has the colour of its class. The id 0 is black if it has no class.
        """
        colors = {
            source: category.color
            for category in label_set.categories
            for source in category.source_ids or (category.id,)
        }
        colors = {0: (0, 0, 0), **colors, IGNORE: _color(label_set.palette[IGNORE])}
        return cls(label_set.name, colors, frozenset(range(last + 1)) | {IGNORE})

    def with_labelmap(self, path: Path, label_set: LabelSet) -> "Legend":
        """Return this legend with the colours of a labelmap.txt, whose names are of `label_set`.

        The file may leave out the colour of ignored pixels.
        """
        named = {_color(label_set.palette[IGNORE]): IGNORE, **read_labelmap(path, label_set)}
        return replace(self, labelmap=named, labelmap_path=path)

    @cached_property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """The RGB colour of each value; black for a value without one, as in iseg's palettes."""
        palette = np.zeros((256, 3), np.uint8)
        palette[list(self.colors)] = list(self.colors.values())
        return palette

    @cached_property
    def has_color(self) -> Bool[np.ndarray, "256"]:
        """Whether each value has a colour."""
        known = np.zeros(256, dtype=bool)
        known[list(self.colors)] = True
        return known

    @cached_property
    def by_color(self) -> Mapping[Color, int]:
        """The value of each colour that belongs to one value only."""
        times = Counter(self.colors.values())
        return {color: value for value, color in self.colors.items() if times[color] == 1}

    @property
    def has_one_class(self) -> bool:
        """Whether a pixel is background, the only class, or ignored."""
        return self.values == {0, 1, IGNORE}

    def allows(self, values: Integer[np.ndarray, " values"]) -> bool:
        """Return whether a pixel may have each of some values."""
        return self.values.issuperset(values.tolist())

    def values_of(self, colors: UInt8[np.ndarray, "colors 3"]) -> Int64[np.ndarray, " colors"]:
        """Return the value of each colour; `UNKNOWN` if no value or several values have it."""
        return np.array([self.by_color.get(_color(c), UNKNOWN) for c in colors], dtype=np.int64)


def _color(rgb: UInt8[np.ndarray, "3"]) -> Color:
    red, green, blue = rgb.tolist()
    return red, green, blue


def folder_legend(*folders: Path, label_set: LabelSet) -> Legend:
    """Return the legend of masks that other tools wrote with the labels of a label set.

    The first labelmap.txt in the folders wins over the colours of the label set.
    """
    legend, labelmap = Legend.of(label_set), find_labelmap(*folders)
    return legend if labelmap is None else legend.with_labelmap(labelmap, label_set)


def bits_words(label_set: LabelSet) -> str:
    """Return the end of a note on masks of 1 bit: how they were read, and what to do if wrong."""
    name = label_set.names.get(1, "no class")
    return (
        f"white was read as label 1 ({name}); if white means 255 or another class, save the masks "
        "with 8 bits"
    )
