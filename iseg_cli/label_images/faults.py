"""The errors of masks whose pixels have no label, or two possible ones."""

from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8

from iseg_cli.errors import DataError
from iseg_cli.label_images.legend import UNKNOWN, Legend
from iseg_cli.label_images.png import Pixels, counted_pixels

SMOOTHED = 16
"""A mask with more unknown colours was smoothed or saved as JPEG."""


def require_one_meaning(
    readings: list[Integer[np.ndarray, " used"]], legend: Legend, path: Path
) -> None:
    """Raise DataError if two readings of a mask both give labels, but not the same ones."""
    possible = [reading.tolist() for reading in readings if legend.allows(reading)]
    for other in possible[1:]:
        if other != possible[0]:
            one, two = next(p for p in zip(possible[0], other, strict=True) if p[0] != p[1])
            raise DataError(
                f"{path} has pixels that are label {one} or label {two}: a tool has changed its "
                "bits or its palette; save the labels as a grey PNG of 8 bits"
            )


def unknown_index_color(
    used: Integer[np.ndarray, " used"],
    colors: np.ndarray,
    pixels: Pixels,
    legend: Legend,
    path: Path,
) -> DataError:
    """Return the error of a palette PNG that has an index whose colour has no label."""
    counts = np.bincount(pixels.samples.ravel(), minlength=256)[used]
    return unknown_color(colors, counts, legend, path)


def unknown_color(
    colors: UInt8[np.ndarray, "colors 3"], counts: np.ndarray, legend: Legend, path: Path
) -> DataError:
    """Return the error of a mask with colours of no label; it has the most frequent colour."""
    missing = np.flatnonzero(legend.values_of(colors) == UNKNOWN)
    if len(missing) > SMOOTHED:
        return smoothed_mask(legend, path, len(missing))
    most = max(missing, key=lambda color: counts[color], default=0)
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


def smoothed_mask(legend: Legend, path: Path, colors: int) -> DataError:
    """Return the error of a mask with many colours of no label."""
    return DataError(
        f"{path} has {colors} colours that label set {legend.name} lacks, as smoothing and JPEG "
        "leave them; export the mask as PNG without smoothing"
    )
