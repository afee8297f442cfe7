"""The label of each value in a mask: of a grey value, an index into a palette, or a colour.

Tools that shrink PNGs keep the colours of pixels. They change indices, palettes and bit depths. So
an index is a label only if the palette agrees; docs/datasets.md has the rules in words.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from iseg_cli.errors import DataError
from iseg_cli.label_images.faults import require_one_meaning, unknown_index_color
from iseg_cli.label_images.legend import UNKNOWN, Legend
from iseg_cli.label_images.palette import voc_color
from iseg_cli.label_images.png import Pixels

Values = Int64[np.ndarray, " used"]

VOC = Legend("VOC's colours", {n: voc_color(n) for n in range(256)}, frozenset(range(256)))
"""The legend of VOC's palette, which many tools write whatever the label set."""

_BLACK_AND_WHITE = frozenset({0, 255})


def labels_of_grey(used: Values, pixels: Pixels, legend: Legend, path: Path) -> Values:
    """Return the labels of the values in a grey PNG.

    A tool that shrinks PNGs turns a palette of greys into grey values, and the value 17 of 8 bits
    into 1 of 4 bits. So a value may be a label, the colour of a label or a shrunk label.
    """
    shown = used * (1 if pixels.bits >= 8 else 255 // (2**pixels.bits - 1))
    greys = np.stack([shown] * 3, axis=1)
    colored = _in_labelmap(greys.astype(np.uint8), legend, path)
    if colored is not None:
        return colored
    colored = legend.values_of(greys.astype(np.uint8))
    if legend.written == "palette":
        readings, rivals = [colored, shown, used], [colored, shown]
    elif legend.written == "grey":
        readings, rivals = [shown, used], []
    else:
        readings, rivals = (
            [used, shown, colored],
            [used, shown] if _needs_bits(used, pixels) else [],
        )
    require_one_meaning(rivals, legend, path)
    return next((reading for reading in readings if legend.allows(reading)), used)


def _needs_bits(used: Values, pixels: Pixels) -> bool:
    """Return whether a tool that shrinks PNGs needs the 2 or 4 bits of some grey values.

    False for 1 bit: a mask of one class, 0 and 1, is likelier than one of 0 and 255.
    """
    halves = 2 ** (pixels.bits // 2) + 1  # its multiples fit into half the bits
    return pixels.bits in (2, 4) and bool((used % halves).any())


def labels_of_indices(used: Values, pixels: Pixels, legend: Legend, path: Path) -> Values:
    """Return the labels of the indices in a palette PNG."""
    inside = used < len(pixels.palette)
    colors = pixels.palette[np.where(inside, used, 0)]
    if not inside.all():  # a tool that keeps colours gives each index a colour
        return used
    named = _in_labelmap(colors, legend, path)
    if named is not None:
        return named
    if _agrees(used, colors, legend) or (not legend.written and _agrees(used, colors, VOC)):
        return used
    shown = colors[:, 0].astype(np.int64)
    is_grey = bool((colors == colors[:, :1]).all())
    is_distinct = len(np.unique(colors, axis=0)) == len(colors)
    colored = legend.values_of(colors) if is_distinct else np.full(len(used), UNKNOWN)
    if not (is_grey and is_distinct):
        shown = np.full(len(used), UNKNOWN)
    if legend.written:
        order = [shown, colored] if legend.written == "grey" else [colored, shown]
        if legend.written == "palette":
            require_one_meaning(order, legend, path)
        for reading in order:
            if legend.allows(reading):
                return reading
        raise unknown_index_color(used, colors, pixels, legend, path)
    if np.array_equal(shown, used):  # the grey ramp that tools add to masks without a palette
        return used
    is_packed = _is_packed(used, pixels.palette)
    if is_packed and legend.allows(shown):
        is_two = _BLACK_AND_WHITE.issuperset(shown.tolist())
        others = [used, colored] if is_two else [colored]
        require_one_meaning([shown, *others], legend, path)
        return shown
    if legend.allows(colored):
        return colored
    if _holds_cube(pixels.palette):
        raise DataError(
            f"{path} has the palette of 216 web colours, as Pillow's convert('P') leaves it, which "
            f"lacks colours of label set {legend.name}; save the labels as a grey PNG"
        )
    if not is_packed or not is_distinct:
        return used  # a tool that renumbers would have dropped the unused colours
    usual = VOC.values_of(colors)
    if UNKNOWN not in usual and legend.allows(usual):
        return usual
    if legend.has_one_class and used.tolist() == [0, 1] and not colors[0].any():
        return used
    raise unknown_index_color(used, colors, pixels, legend, path)


def labels_of_colors(
    colors: UInt8[np.ndarray, "colors 3"], legend: Legend, path: Path
) -> Values | None:
    """Return the labels of the colours in an RGB PNG; None if a colour has no label."""
    named = _in_labelmap(colors, legend, path)
    if named is not None:
        return named
    grey = colors[:, 0].astype(np.int64)
    if not (colors == colors[:, :1]).all():
        grey = np.full(len(colors), UNKNOWN)
    readings = [legend.values_of(colors)]
    if legend.written == "grey":
        readings.insert(0, grey)
    elif legend.written is None:
        if not _BLACK_AND_WHITE.issuperset(
            grey.tolist()
        ):  # otherwise it may be a mask of two labels
            readings.append(grey)
            require_one_meaning(readings, legend, path)
        readings.append(VOC.values_of(colors))
    return next((reading for reading in readings if legend.allows(reading)), None)


def _in_labelmap(
    colors: UInt8[np.ndarray, "colors 3"], legend: Legend, path: Path
) -> Values | None:
    """Return the labels that a labelmap.txt gives to colours; None if it lacks a colour."""
    named = [legend.labelmap.get((r, g, b)) for r, g, b in colors.tolist()]
    if not legend.labelmap or None in named:
        return None
    for (red, green, blue), label in zip(colors.tolist(), named, strict=True):
        if isinstance(label, str):
            raise DataError(
                f"{path} has the colour ({red}, {green}, {blue}), which {legend.labelmap_path} "
                f"calls {label!r}, a name that label set {legend.name} lacks; rename it there"
            )
    return np.array(named, dtype=np.int64)


def _agrees(used: Values, colors: UInt8[np.ndarray, "used 3"], legend: Legend) -> bool:
    """Return whether each used index has its colour of the legend."""
    return bool(legend.has_color[used].all() and np.array_equal(colors, legend.palette[used]))


def _is_packed(used: Values, palette: UInt8[np.ndarray, "entries 3"]) -> bool:
    """Return whether a palette has at most one unused colour, as tools that shrink PNGs leave it.

    ImageMagick adds one colour. Black entries at the end are padding.
    """
    entries = len(palette)
    while entries > int(used.max(initial=0)) + 1 and not palette[entries - 1].any():
        entries -= 1
    return entries <= len(used) + 1


def _holds_cube(palette: UInt8[np.ndarray, "entries 3"]) -> bool:
    """Return whether a palette has the 216 web colours, to which a tool has fitted the colours."""
    steps = palette[(palette % 51 == 0).all(axis=1)].astype(np.int64) // 51
    return len(np.unique(steps @ [36, 6, 1])) == 216
