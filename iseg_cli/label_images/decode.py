"""Which label each pixel of a mask has, whoever wrote the PNG and whatever tool shrank it.

Tools that shrink PNGs keep every colour and neither the indices of a palette nor the bits of a
sample. So an index is a label only where the palette agrees that it is; docs/datasets.md has the
rules in words.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, Integer, UInt8

from iseg_cli.errors import DataError
from iseg_cli.label_images.legend import UNKNOWN, Legend
from iseg_cli.label_images.palette import voc_color
from iseg_cli.label_images.png import Pixels, counted_pixels, read_pixels
from iseg_cli.types import IGNORE, run_starts

Labels = UInt8[np.ndarray, "height width"]
Values = Int64[np.ndarray, " used"]

_VOC = Legend("VOC's colours", {n: voc_color(n) for n in range(256)}, frozenset(range(256)))
_BLACK_AND_WHITE = frozenset({0, 255})
_SMOOTHED = 16
"""Colours that a label set lacks, in one mask: more of them come from smoothing or from JPEG."""


class Decoded(NamedTuple):
    """The labels of a mask, and how they were read.

    Attributes:
        labels: a label for each pixel.
        by_color: its colours, not its samples, gave the labels.
        from_bits: it is a grey PNG of 1 bit whose white pixels were read as label 1 of several
            classes; a tool that shrinks stores 0 and 255 in the same way.
    """

    labels: Labels
    by_color: bool
    from_bits: bool = False


def read_labels(path: Path, legend: Legend | None = None) -> Decoded:
    """Read the labels of a PNG of 1, 2, 4 or 8 bits, or of 16 in grey.

    Without a legend they are the values of a grey PNG or the indices of a palette. With one, a
    palette of other indices and RGB pixels are read by their colours.

    DataError, naming the file, if it is missing, damaged, no PNG, or its colours or values are not
    those of labels.
    """
    pixels = read_pixels(path)
    if pixels.kind == "rgb":
        if legend is None:
            raise DataError(f"{path} holds colours, not labels; save it as a palette or grey PNG")
        return _by_pixel_colors(pixels, legend, path)
    if (most := int(pixels.samples.max(initial=0))) > IGNORE:
        raise DataError(f"{path} has label {most}; a label is at most {IGNORE}")
    samples = pixels.samples.astype(np.uint8, copy=False)
    if legend is None or _is_palette_of(pixels, legend):
        return Decoded(samples, by_color=False)
    flat = samples.ravel()
    used: Values = np.flatnonzero(np.bincount(flat[run_starts(flat)]))
    choose = _by_index if pixels.kind == "palette" else _by_grey
    labels = choose(used, pixels, legend, path)
    if np.array_equal(labels, used):
        is_doubtful = pixels.kind == "grey" and pixels.bits == 1 and not legend.written
        from_bits = is_doubtful and 1 in used and not _has_one_class(legend)
        return Decoded(samples, by_color=False, from_bits=from_bits)
    table = np.zeros(256, np.uint8)
    table[used] = labels
    return Decoded(table[samples], by_color=True)


def _is_palette_of(pixels: Pixels, legend: Legend) -> bool:
    """Tell whether a PNG has the whole palette of a legend, or VOC's, which many tools write."""
    palette, entries = pixels.palette, len(pixels.palette)
    if pixels.kind != "palette" or entries < 2 or legend.labelmap:
        return False
    others = () if legend.written else (_VOC,)
    return any(np.array_equal(palette, one.palette[:entries]) for one in (legend, *others))


def _by_grey(used: Values, pixels: Pixels, legend: Legend, path: Path) -> Values:
    """Return the labels of the values in a grey PNG.

    The colours of a mask may have been grey all the same, and 17 in 8 bits becomes 1 in 4 bits.
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
    _require_one_meaning(rivals, legend, path)
    return next((reading for reading in readings if legend.allows(reading)), used)


def _needs_bits(used: Values, pixels: Pixels) -> bool:
    """Tell whether a tool that shrinks would have stored some grey values with 2 or 4 bits.

    One bit holds 0 and 1: a picture of one class is likelier than one of 0 and 255.
    """
    halves = 2 ** (pixels.bits // 2) + 1  # so many steps of 2 or 4 bits are one of half the bits
    return pixels.bits in (2, 4) and bool((used % halves).any())


def _by_index(used: Values, pixels: Pixels, legend: Legend, path: Path) -> Values:
    """Return the labels of the indices in a palette PNG."""
    inside = used < len(pixels.palette)
    colors = pixels.palette[np.where(inside, used, 0)]
    if not inside.all():  # no tool that keeps colours leaves an index without one
        return used
    named = _in_labelmap(colors, legend, path)
    if named is not None:
        return named
    if _agrees(used, colors, legend) or (not legend.written and _agrees(used, colors, _VOC)):
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
            _require_one_meaning(order, legend, path)
        for reading in order:
            if legend.allows(reading):
                return reading
        raise _foreign(used, colors, pixels, legend, path)
    if np.array_equal(shown, used):  # a ramp of greys, as tools give masks without a palette
        return used
    is_packed = _is_packed(used, pixels.palette)
    if is_packed and legend.allows(shown):
        is_two = _BLACK_AND_WHITE.issuperset(shown.tolist())
        others = [used, colored] if is_two else [colored]
        _require_one_meaning([shown, *others], legend, path)
        return shown
    if legend.allows(colored):
        return colored
    if _holds_cube(pixels.palette):
        raise DataError(
            f"{path} has the palette of 216 web colours, as Pillow's convert('P') leaves it, which "
            f"lacks colours of label set {legend.name}; save the labels as a grey PNG"
        )
    if not is_packed or not is_distinct:
        return used  # the palette is decoration: a tool that renumbers drops what is not used
    usual = _VOC.values_of(colors)
    if UNKNOWN not in usual and legend.allows(usual):
        return usual
    if _has_one_class(legend) and used.tolist() == [0, 1] and not colors[0].any():
        return used
    raise _foreign(used, colors, pixels, legend, path)


def _by_pixel_colors(pixels: Pixels, legend: Legend, path: Path) -> Decoded:
    """Return the labels of an RGB PNG."""
    height, width, _ = pixels.samples.shape
    red, green, blue = (pixels.samples[..., channel].astype(np.int64) for channel in range(3))
    packed = ((red << 16) + (green << 8) + blue).ravel()
    found = np.unique(packed[run_starts(packed)])
    if len(found) > 256 + _SMOOTHED:
        raise _smoothed(legend, path, len(found))
    places = np.searchsorted(found, packed)
    colors = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.uint8)
    labels = _in_labelmap(colors, legend, path)
    if labels is None:
        grey = colors[:, 0].astype(np.int64)
        if not (colors == colors[:, :1]).all():
            grey = np.full(len(colors), UNKNOWN)
        readings = [legend.values_of(colors)]
        if legend.written == "grey":
            readings.insert(0, grey)
        elif legend.written is None:
            if not _BLACK_AND_WHITE.issuperset(grey.tolist()):  # else a picture of two labels
                readings.append(grey)
                _require_one_meaning(readings, legend, path)
            readings.append(_VOC.values_of(colors))
        labels = next((reading for reading in readings if legend.allows(reading)), None)
    if labels is None:
        raise _unknown_color(colors, np.bincount(places), legend, path)
    table = labels.astype(np.uint8)
    return Decoded(table[places.reshape(height, width)], by_color=True)


def _in_labelmap(
    colors: UInt8[np.ndarray, "colors 3"], legend: Legend, path: Path
) -> Values | None:
    """Return the labels that a labelmap.txt gives to colours; None where it lacks one of them."""
    named = [legend.labelmap.get((r, g, b)) for r, g, b in colors.tolist()]
    if not legend.labelmap or None in named:
        return None
    for (red, green, blue), label in zip(colors.tolist(), named, strict=True):
        if isinstance(label, str):
            raise DataError(
                f"{path} has the colour ({red}, {green}, {blue}), which {legend.labelmap_path} "
                f"calls {label!r}, and label set {legend.name} has no such name; rename it there"
            )
    return np.array(named, dtype=np.int64)


def _agrees(used: Values, colors: UInt8[np.ndarray, "used 3"], legend: Legend) -> bool:
    """Tell whether every index that is used has the colour which the legend gives to it."""
    return bool(legend.has_color[used].all() and np.array_equal(colors, legend.palette[used]))


def _is_packed(used: Values, palette: UInt8[np.ndarray, "entries 3"]) -> bool:
    """Tell whether a palette has hardly more colours than are used, as tools that shrink leave it.

    ImageMagick adds one; black entries behind the others are padding.
    """
    entries = len(palette)
    while entries > int(used.max(initial=0)) + 1 and not palette[entries - 1].any():
        entries -= 1
    return entries <= len(used) + 1


def _holds_cube(palette: UInt8[np.ndarray, "entries 3"]) -> bool:
    """Tell whether a palette has all 216 web colours: colours were fitted to it, not labels."""
    steps = palette[(palette % 51 == 0).all(axis=1)].astype(np.int64) // 51
    return len(np.unique(steps @ [36, 6, 1])) == 216


def _has_one_class(legend: Legend) -> bool:
    return legend.values == {0, 1, IGNORE}


def _require_one_meaning(
    readings: list[Integer[np.ndarray, " used"]], legend: Legend, path: Path
) -> None:
    """DataError where a mask can be read in two ways that both give labels, but other ones."""
    possible = [reading.tolist() for reading in readings if legend.allows(reading)]
    for other in possible[1:]:
        if other != possible[0]:
            one, two = next(p for p in zip(possible[0], other, strict=True) if p[0] != p[1])
            raise DataError(
                f"{path} has pixels that are label {one} or label {two}, for a tool has changed "
                "its bits or its palette; save it as a grey PNG of 8 bits"
            )


def _foreign(
    used: Values, colors: np.ndarray, pixels: Pixels, legend: Legend, path: Path
) -> DataError:
    """Return the error of a palette whose colours are not the label set's."""
    counts = np.bincount(pixels.samples.ravel(), minlength=256)[used]
    return _unknown_color(colors, counts, legend, path)


def _unknown_color(
    colors: UInt8[np.ndarray, "colors 3"], counts: np.ndarray, legend: Legend, path: Path
) -> DataError:
    """Return the error of a mask that has colours of no label; it names the most frequent."""
    missing = np.flatnonzero(legend.values_of(colors) == UNKNOWN)
    if len(missing) > _SMOOTHED:
        return _smoothed(legend, path, len(missing))
    most = max(missing, key=lambda place: counts[place], default=0)
    red, green, blue = colors[most].tolist()
    if legend.written:
        way_out = "delete it and run iseg generate again, or save its labels as a grey PNG"
    elif legend.labelmap_path is not None:
        way_out = f"add it to {legend.labelmap_path}, or save the labels as a grey PNG"
    else:
        way_out = "save the labels as a grey PNG, or name the colour in a labelmap.txt beside it"
    return DataError(
        f"{path} has {counted_pixels(int(counts[most]))} of the colour ({red}, {green}, {blue}), "
        f"which label set {legend.name} lacks or has twice; {way_out}"
    )


def _smoothed(legend: Legend, path: Path, colors: int) -> DataError:
    return DataError(
        f"{path} has {colors} colours that label set {legend.name} lacks, as smoothing and JPEG "
        "leave them; export the mask again without them"
    )
