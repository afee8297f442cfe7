"""Decodes a mask PNG to the label of each pixel."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from iseg_cli.errors import DataError
from iseg_cli.label_images.faults import SMOOTHED, smoothed_mask, unknown_color
from iseg_cli.label_images.legend import Legend
from iseg_cli.label_images.png import Pixels, read_pixels
from iseg_cli.label_images.value_labels import (
    VOC,
    Values,
    labels_of_colors,
    labels_of_grey,
    labels_of_indices,
)
from iseg_cli.types import IGNORE, run_starts

Labels = UInt8[np.ndarray, "height width"]


class Decoded(NamedTuple):
    """The labels of a mask, and how they were read.

    Attributes:
        labels: the label of each pixel.
        by_color: whether the colours of the pixels, not the stored values, gave the labels.
        from_bits: whether it is a grey PNG of 1 bit whose white pixels were read as label 1 of
            several classes. The labels may be wrong: a tool that shrinks PNGs also stores 0 and
            255 with 1 bit.
    """

    labels: Labels
    by_color: bool
    from_bits: bool = False


def read_labels(path: Path, legend: Legend | None = None) -> Decoded:
    """Return the labels of a PNG with 1, 2, 4 or 8 bits a sample, or with 16 bits in grey.

    Args:
        path: the PNG.
        legend: the labels of values and colours. With it, RGB pixels and a palette with other
            indices are read by their colours. Without it, the labels are the values of a grey PNG
            or the indices of a palette PNG.

    Raises:
        DataError: the file is missing, damaged or no PNG, or a colour or value has no label. The
            message has the file.
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
    choose = labels_of_indices if pixels.kind == "palette" else labels_of_grey
    labels = choose(used, pixels, legend, path)
    if np.array_equal(labels, used):
        is_doubtful = pixels.kind == "grey" and pixels.bits == 1 and not legend.written
        from_bits = is_doubtful and 1 in used and not legend.has_one_class
        return Decoded(samples, by_color=False, from_bits=from_bits)
    table = np.zeros(256, np.uint8)
    table[used] = labels
    return Decoded(table[samples], by_color=True)


def _is_palette_of(pixels: Pixels, legend: Legend) -> bool:
    """Return whether a PNG has the palette of a legend, or VOC's, which many tools write."""
    palette, entries = pixels.palette, len(pixels.palette)
    if pixels.kind != "palette" or entries < 2 or legend.labelmap:
        return False
    others = () if legend.written else (VOC,)
    return any(np.array_equal(palette, one.palette[:entries]) for one in (legend, *others))


def _by_pixel_colors(pixels: Pixels, legend: Legend, path: Path) -> Decoded:
    """Return the labels of an RGB PNG."""
    height, width, _ = pixels.samples.shape
    red, green, blue = (pixels.samples[..., channel].astype(np.int64) for channel in range(3))
    packed = ((red << 16) + (green << 8) + blue).ravel()
    found = np.unique(packed[run_starts(packed)])
    if len(found) > 256 + SMOOTHED:
        raise smoothed_mask(legend, path, len(found))
    color_of_pixel = np.searchsorted(found, packed)
    colors = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.uint8)
    labels = labels_of_colors(colors, legend, path)
    if labels is None:
        raise unknown_color(colors, np.bincount(color_of_pixel), legend, path)
    table = labels.astype(np.uint8)
    return Decoded(table[color_of_pixel.reshape(height, width)], by_color=True)
