"""Synthetic masks like those of street scenes: horizontal areas with objects in front.

Smooth masks are decoded and scored faster than noise, so noise would not measure the usual speed.
"""

import io
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from iseg_cli.label_images.palette import voc_color
from iseg_cli.storage import encode_mask
from iseg_cli.types import IGNORE, Mask

AREAS, OBJECTS = 5, 60
"""The number of areas and the number of objects in a scene."""

DISTINCT = 200
"""The number of different pairs; making a pair takes much longer than scoring it."""

_CORNERS = 40  # corners of an outline


@dataclass(frozen=True, eq=False)
class _Shape:
    """One area of a mask: its label and its outline as (x, y), in units of the mask's height."""

    label: int
    outline: Float64[np.ndarray, "corners 2"]


def write_masks(folder: Path, *, masks: int, size: tuple[int, int], labels: int, seed: int) -> None:
    """Write truth/<number>.png, grey as in Cityscapes, and predictions/<number>.png, as iseg does.

    Args:
        folder: an empty folder.
        masks: the number of pairs; pairs after the first `DISTINCT` are copies of these.
        size: their (height, width) in pixels.
        labels: masks hold labels 0 to `labels - 1`.
        seed: the same seed gives the same masks.
    """
    for name in ("truth", "predictions"):
        (folder / name).mkdir()
    for first in range(min(masks, DISTINCT)):
        ground_truth, prediction = _encoded(
            *mask_pair(np.random.default_rng([seed, first]), size, labels)
        )
        for number in range(first, masks, DISTINCT):
            (folder / "truth" / f"{number:06}.png").write_bytes(ground_truth)
            (folder / "predictions" / f"{number:06}.png").write_bytes(prediction)


def mask_pair(
    rng: np.random.Generator, size: tuple[int, int], labels: int
) -> tuple[UInt8[np.ndarray, "height width"], UInt8[np.ndarray, "height width"]]:
    """Return a scene and a prediction of it, with inexact outlines and some wrong labels."""
    height, width = size
    shapes = [_area(rng, top / AREAS, width / height, labels) for top in range(AREAS)]
    shapes += [_object(rng, width / height, labels) for _ in range(OBJECTS)]
    return _paint(shapes, size), _paint([_mistaken(rng, shape, labels) for shape in shapes], size)


def _encoded(
    ground_truth: UInt8[np.ndarray, "height width"], prediction: UInt8[np.ndarray, "height width"]
) -> tuple[bytes, bytes]:
    palette = np.array([voc_color(label) for label in range(IGNORE + 1)], dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(ground_truth).save(buffer, format="PNG")
    return buffer.getvalue(), encode_mask(Mask(prediction), palette)


def _area(rng: np.random.Generator, top: float, width: float, labels: int) -> _Shape:
    """Return the area below a wavy line."""
    x = np.linspace(0, width, _CORNERS)
    waves = sum(np.sin(rng.uniform(0.5, 8) * x + rng.uniform(0, 6)) for _ in range(3))
    line = np.column_stack((x, top + 0.02 * waves if top else np.zeros_like(x)))
    corners = np.array([[width, 1.1], [0, 1.1]])
    return _Shape(int(rng.integers(labels)), np.concatenate((line, corners)))


def _object(rng: np.random.Generator, width: float, labels: int) -> _Shape:
    """Return an irregular ellipse; most are small."""
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    radius = 0.03 * rng.lognormal(sigma=0.7) * (1 + 0.1 * rng.standard_normal(_CORNERS))
    middle = rng.uniform((0, 0.2), (width, 0.9))
    extent = rng.uniform(0.6, 1.6, size=2)
    circle = np.column_stack((np.cos(angle), np.sin(angle)))
    return _Shape(int(rng.integers(labels)), middle + radius[:, None] * extent * circle)


def _mistaken(rng: np.random.Generator, shape: _Shape, labels: int) -> _Shape:
    moved = shape.outline + 0.002 * rng.standard_normal(shape.outline.shape)
    label = int(rng.integers(labels)) if rng.random() < 0.15 else shape.label
    return replace(shape, label=label, outline=moved)


def _paint(shapes: list[_Shape], size: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    labels = np.zeros(size, dtype=np.uint8)
    for shape in shapes:
        corners = np.rint(shape.outline * size[0]).astype(np.int32)
        cv2.fillPoly(labels, [corners], shape.label)
    return labels
