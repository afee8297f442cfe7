"""The label set of unsupervised masks: their labels are numbers of segments."""

import colorsys
from functools import cache

from iseg_cli.types import IGNORE, Category, LabelSet

MOST = IGNORE - 1
"""The greatest number of segments that `iseg_cli.segmentation.segments` finds in an image."""

_GOLDEN = 0.618034
"""Hues one after the other differ by this share of the circle: they stay distinct."""


@cache
def segment_label_set() -> LabelSet:
    """Return the label set of segments: numbers from 0 in distinct colours."""
    return LabelSet(
        name="segments",
        categories=tuple(
            Category(number, f"segment {number}", f"segment {number}", color=_color(number))
            for number in range(MOST)
        ),
        background=None,
    )


def _color(number: int) -> tuple[int, int, int]:
    """Return the colour of a segment, red, green and blue; the first colours differ most."""
    value, saturation = ((1.0, 0.65), (0.75, 0.9), (0.9, 0.35), (0.55, 0.6))[number % 4]
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
