"""Overlays: an image beside the same image with its mask, above a legend."""

import math

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont

from iseg_cli.types import IGNORE, LabelSet, Mask

_SHORT_SIDE = 384
"""The least length in pixels of an overlay's short side; smaller images are enlarged."""
_OPACITY = 0.5
_BLANK, _INK = (250, 250, 250), (30, 30, 34)


def draw_overlay(
    image: UInt8[np.ndarray, "height width 3"], mask: Mask, label_set: LabelSet
) -> UInt8[np.ndarray, "out_height out_width 3"]:
    """Return an RGB image beside the same image with its mask's colours, above a legend.

    The background has no colour. Small images are enlarged (cubic; the mask nearest) so that the
    legend is readable. The two panels of a wide image are one above the other. ValueError if image
    and mask differ in size.
    """
    if image.shape[:2] != mask.size:
        raise ValueError(f"an image of {image.shape[:2]} under a mask of {mask.size}")
    height, width = mask.size
    factor = max(1, math.ceil(_SHORT_SIDE / min(height, width)))
    size = (width * factor, height * factor)  # OpenCV's order: (width, height)
    large = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    labels = cv2.resize(mask.labels, size, interpolation=cv2.INTER_NEAREST)
    colored = _colored(large, labels, label_set)
    wide = width > 1.5 * height
    gap_size = (size[0], _gap(size)) if wide else (_gap(size), size[1])
    gap = np.full((gap_size[1], gap_size[0], 3), _BLANK, dtype=np.uint8)
    panels = np.concatenate([large, gap, colored], axis=0 if wide else 1)
    legend = _legend(_entries(labels, label_set), panels.shape[1], text_size=_text_size(size))
    return np.concatenate([panels, legend], axis=0)


def _colored(
    image: UInt8[np.ndarray, "height width 3"],
    labels: UInt8[np.ndarray, "height width"],
    label_set: LabelSet,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the image with each label's colour over its pixels and a thin lighter contour."""
    tinted = cv2.addWeighted(image, 1 - _OPACITY, label_set.palette[labels], _OPACITY, 0)
    background = labels == label_set.background
    colored = np.where(background[..., None], image, tinted)
    thickness = max(1, round(min(labels.shape) / 400))
    for label in np.unique(labels[~background]).tolist():
        line = [int(255 - 0.4 * (255 - value)) for value in label_set.palette[label]]
        contours, _ = cv2.findContours(
            _as_bytes(labels == label), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(colored, contours, -1, line, thickness, cv2.LINE_AA)
    return colored


def _as_bytes(region: Bool[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    return region.astype(np.uint8)


def _entries(
    labels: UInt8[np.ndarray, "height width"], label_set: LabelSet
) -> list[tuple[str, tuple[int, ...]]]:
    """Return name and colour of every label in the mask, in the order of the labels."""
    names = {**label_set.names, IGNORE: "ignored"}
    return [
        (names.get(label, f"label {label}"), tuple(label_set.palette[label].tolist()))
        for label in np.unique(labels).tolist()
        if label != label_set.background
    ]


def _legend(
    entries: list[tuple[str, tuple[int, ...]]], width: int, *, text_size: int
) -> UInt8[np.ndarray, "height {width} 3"]:
    """Return a strip with a colour and a name for each label, in as many rows as needed."""
    font = ImageFont.load_default(text_size)
    pad = text_size // 2
    row_height = text_size + pad
    positions: list[tuple[int, int]] = []
    x, row = pad, 0
    entries = entries or [("nothing segmented", _BLANK)]
    for name, _ in entries:
        needed = text_size + pad + math.ceil(font.getlength(name))
        if x > pad and x + needed > width - pad:
            x, row = pad, row + 1
        positions.append((x, row))
        x += needed + 2 * pad
    strip = Image.new("RGB", (width, (row + 1) * row_height + pad), _BLANK)
    pen = ImageDraw.Draw(strip)
    for (name, color), (left, line) in zip(entries, positions, strict=True):
        top = pad + line * row_height
        if color != _BLANK:
            box = (left, top, left + text_size - 1, top + text_size - 1)
            pen.rounded_rectangle(box, radius=text_size // 5, fill=color, outline=_INK)
            left += text_size + pad // 2
        pen.text((left, top + text_size / 2), name, fill=_INK, font=font, anchor="lm")
    return np.array(strip)


def _gap(size: tuple[int, int]) -> int:
    return max(4, min(size) // 64)


def _text_size(size: tuple[int, int]) -> int:
    """Return the legend's text height in pixels: 16 for a picture of 384, growing with it."""
    return max(16, min(size) // 28)
