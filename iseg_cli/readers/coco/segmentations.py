"""Checks the segmentation of an annotation and decodes it to a mask.

pycocotools reads polygons and run lengths in C without checks. Run lengths that do not fill the
image give wrong pixels, and coordinates far outside the image take all memory.
"""

import math
import threading
import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int64
from pycocotools import mask as coco_mask

from iseg_cli.readers.coco.json_values import number, shown, whole_number

_FARTHEST = 100_000.0
"""The greatest absolute coordinate of a polygon, in pixels; no image is as large."""
_LONGEST = 4_000_000.0
"""The greatest length of a polygon's outline, in pixels; pycocotools holds five points a pixel."""
_FEW, _NEAR = 2_500, 40_000.0
"""A polygon of so few numbers with so small a norm keeps both limits: 2 sqrt(2500) 40,000."""
_GROUPS = 8
"""The greatest number of groups of five bits in a run: no image has 2^40 pixels."""

# Warning filters belong to the process, so only one thread at a time may change them.
_DECODING = threading.Lock()


class Runs(NamedTuple):
    """Run lengths down the columns, background first; their sum is the number of pixels.

    Attributes:
        size: (height, width) in pixels.
        counts: the run lengths, or COCO's compressed text of them.
    """

    size: tuple[int, int]
    counts: list[int] | str


Shape = list[list[float]] | Runs
"""Polygons (x and y in turn) or run lengths that can be decoded."""


class ShapeError(Exception):
    """A segmentation cannot be decoded; the text says why."""


def check_shape(value: Any, size: tuple[int, int] | None) -> tuple[Shape | None, int]:
    """Return a segmentation that can be decoded, and the number of polygons that were left out.

    A polygon has at least three points, x and y in turn; a list of numbers is one polygon. The
    first value is None for an empty segmentation, or if no polygon is left. `size` is the image's
    (height, width), None if unknown. ShapeError if run lengths do not fill the image, if all
    polygons are outside it or in fractions of it, or if the value is of another kind.
    """
    if isinstance(value, dict):
        return _check_runs(value, size), 0
    if not isinstance(value, list):
        raise ShapeError("its segmentation is neither polygons nor run lengths")
    if value and isinstance(value[0], int | float) and not any(isinstance(x, list) for x in value):
        value = [value]
    polygons = [good for polygon in value if (good := _polygon(polygon)) is not None]
    if polygons and size is not None:
        _require_inside(polygons, size)
    # `[[]]` is a segmentation without polygons, as `[]` is.
    dropped = 0 if len(polygons) == len(value) else sum(map(_is_written, value)) - len(polygons)
    return polygons or None, dropped


def _require_inside(polygons: list[list[float]], size: tuple[int, int]) -> None:
    """Raise ShapeError if polygons are in fractions of the image, or all of them outside it."""
    height, width = size
    if all(map(_is_of_fractions, polygons)):
        raise ShapeError("its points are fractions of the image; write pixels")
    if all(_is_outside(points, height, width) for points in polygons):
        raise ShapeError(f"it lies outside of its image, {width} wide and {height} high")


def _is_of_fractions(points: list[float]) -> bool:
    """Return whether the numbers of a polygon are in [0, 1] and not all whole."""
    if points[0] > 1 or points[1] > 1:  # almost all polygons end here
        return False
    is_within = min(points) >= 0 and max(points) <= 1
    return is_within and not all(float(number).is_integer() for number in points)


def _is_outside(points: list[float], height: int, width: int) -> bool:
    """Return whether all points of a polygon are beyond one side of the image."""
    x, y = points[0], points[1]
    if 0 < x < width and 0 < y < height:  # almost all polygons end here
        return False
    across, down = points[::2], points[1::2]
    return min(across) >= width or max(across) <= 0 or min(down) >= height or max(down) <= 0


def decode_shape(shape: Shape, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """Return the pixels of a checked shape in an image of (height, width) `size`.

    ShapeError if its run lengths are of another size.
    """
    if isinstance(shape, Runs) and shape.size != size:
        raise ShapeError(_of_another_size(shape.size, size))
    with _DECODING, warnings.catch_warnings():
        # pycocotools 2.0.11 hands NumPy 2 arrays in NumPy 1's way.
        warnings.filterwarnings("ignore", "__array__", DeprecationWarning)
        if not isinstance(shape, Runs):
            run_lengths = coco_mask.merge(coco_mask.frPyObjects(shape, *size))
        else:
            run_lengths = {"size": list(size), "counts": shape.counts}
            if isinstance(shape.counts, list):
                run_lengths = coco_mask.frPyObjects(run_lengths, *size)
        pixels: np.ndarray = coco_mask.decode(run_lengths)
    return pixels.astype(bool)


def _is_written(polygon: Any) -> bool:
    return not isinstance(polygon, list) or bool(polygon)


def _polygon(points: Any) -> list[float] | None:
    """Return the numbers of a polygon; None if it is no polygon."""
    if not isinstance(points, list) or len(points) < 6 or len(points) % 2:
        return None
    try:
        # One call is enough for almost all polygons: the norm is at least the greatest coordinate,
        # and sqrt(n) times the norm is more than half the outline's length.
        if len(points) <= _FEW and math.hypot(*points) <= _NEAR:
            return points
    except (TypeError, OverflowError):
        pass
    return _checked_polygon(points)


def _checked_polygon(points: list[Any]) -> list[float] | None:
    """Return the numbers of a polygon that is long, far away or not of numbers alone."""
    try:
        low, high = min(points), max(points)
        if not (low >= -_FARTHEST and high <= _FARTHEST and math.isfinite(sum(points))):
            return None
    except TypeError:  # not all are numbers; some may be digits in strings
        numbers = [found for point in points if (found := number(point)) is not None]
        return _checked_polygon(numbers) if len(numbers) == len(points) else None
    is_long = len(points) * (high - low) > _LONGEST
    return None if is_long and _length(points) > _LONGEST else points


def _length(points: list[float]) -> float:
    xy = np.array(points, dtype=np.float64).reshape(-1, 2)
    return float(np.abs(xy - np.roll(xy, 1, axis=0)).max(axis=1).sum())


def _check_runs(value: dict[Any, Any], size: tuple[int, int] | None) -> Runs:
    sides = value.get("size")
    if not isinstance(sides, list) or len(sides) != 2:
        raise ShapeError("its run lengths have no size")
    height, width = map(whole_number, sides)
    if height is None or width is None or height < 1 or width < 1:
        raise ShapeError(f"the size of its run lengths is {shown(sides)}")
    if size is not None and (height, width) != size:
        raise ShapeError(_of_another_size((height, width), size))
    counts = value.get("counts")
    if isinstance(counts, str):
        total = _sum(_decompress(counts))
    elif isinstance(counts, list):
        counts = counts if set(map(type, counts)) <= {int} else _whole_numbers(counts)
        total = _sum(counts)
    else:
        raise ShapeError("its run lengths have no counts")
    if total != height * width:
        raise ShapeError(f"its run lengths add up to {total} of {height * width} pixels")
    return Runs((height, width), counts)


def _of_another_size(own: tuple[int, int], size: tuple[int, int]) -> str:
    return (
        f"its run lengths are {own[1]} wide and {own[0]} high, "
        f"its image {size[1]} wide and {size[0]} high"
    )


def _sum(runs: list[int] | Int64[np.ndarray, " runs"]) -> int:
    if len(runs) and min(runs) < 0:
        raise ShapeError("one of its run lengths is negative")
    return int(sum(runs))


def _whole_numbers(counts: list[Any]) -> list[int]:
    numbers = [whole_number(count) for count in counts]
    found = [count for count in numbers if count is not None]
    if len(found) != len(counts):
        raise ShapeError("one of its run lengths is no whole number")
    return found


def _decompress(text: str) -> Int64[np.ndarray, " runs"]:
    """Return the run lengths of COCO's compressed text; ShapeError if it is invalid.

    Each character holds 6 bits above "0": 5 bits of a number, the low ones first, and a bit that
    says whether more follow. The fifth bit of the last character is the sign. From the fourth
    number on, the number is the difference to the one two before it (cocoapi, common/maskApi.c,
    rleFrString).
    """
    if not text:
        return np.zeros(0, dtype=np.int64)
    codes = np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8).astype(np.int64) - 48
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ShapeError("the text of its run lengths is no compressed counts")
    last = np.flatnonzero(codes & 32 == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    groups = last - first + 1
    if groups.max() > _GROUPS:
        raise ShapeError("the text of its run lengths is no compressed counts")
    group = np.arange(len(codes)) - np.repeat(first, groups)
    runs = np.add.reduceat((codes & 31) << (5 * group), first)
    runs -= np.where(codes[last] & 16, np.int64(1) << (5 * groups), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
