"""What the labels of an unsupervised run's masks mean: the numbers of segments."""

import colorsys
from functools import cache

from iseg_cli.types import IGNORE, Category, LabelSet

MOST = IGNORE - 1
"""As many segments as `iseg_cli.segmentation.segments` numbers in an image at most."""

_GOLDEN = 0.618034
"""Steps of this share of the circle keep hues apart, however many there are."""


@cache
def segment_label_set() -> LabelSet:
    """Return what the labels of segments mean: their numbers, in colours that are told apart."""
    return LabelSet(
        name="segments",
        categories=tuple(
            Category(number, f"segment {number}", f"segment {number}", color=_color(number))
            for number in range(MOST)
        ),
        background=None,
    )


def _color(number: int) -> tuple[int, int, int]:
    """Return a colour of its own; the first ones differ most."""
    value, saturation = ((1.0, 0.65), (0.75, 0.9), (0.9, 0.35), (0.55, 0.6))[number % 4]
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
