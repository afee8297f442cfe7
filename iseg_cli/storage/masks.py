"""Encoding and decoding of masks (8-bit palette or grey PNGs) and pictures (JPEGs)."""

import io
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from iseg_cli.errors import DataError, PredictionsError
from iseg_cli.label_images import (
    HEADER_BYTES,
    DamagedPngError,
    Decoded,
    Legend,
    end_of_chunks,
    read_labels,
    size_in_header,
)
from iseg_cli.types import Mask


def encode_mask(mask: Mask, palette: UInt8[np.ndarray, "256 3"] | None) -> bytes:
    """Return a mask as a palette PNG: pixel values are labels, `palette` has their RGB colours.

    Without a palette it is a grey PNG whose values are the labels. The same mask and palette give
    the same bytes.
    """
    image = Image.fromarray(np.ascontiguousarray(mask.labels))
    if palette is not None:
        image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def encode_picture(
    picture: UInt8[np.ndarray, "height width 3"],
    *,
    kind: Literal["jpg", "png"] = "jpg",
    quality: int = 92,
) -> bytes:
    """Return an RGB picture as a PNG or a JPEG that keeps coloured text sharp (no subsampling)."""
    buffer = io.BytesIO()
    if kind == "png":
        Image.fromarray(picture).save(buffer, format="PNG")
        return buffer.getvalue()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def read_mask(path: Path, legend: Legend | None = None) -> Mask:
    """Return the labels of a mask file; `legend` says what its values and colours mean.

    Without a legend, labels are the values of a grey PNG or the indices of a palette.
    PredictionsError if the file is missing, damaged or holds no labels.
    """
    return Mask(decode_mask(path, legend).labels)


def decode_mask(path: Path, legend: Legend | None = None) -> Decoded:
    """Return the labels of a mask file, and how they were read; see `read_mask`."""
    try:
        return read_labels(path, legend)
    except DamagedPngError as error:
        raise PredictionsError(
            f"{path} is truncated or damaged; delete it and rerun iseg generate"
        ) from error
    except DataError as error:
        raise PredictionsError(f"{error}") from error


def is_whole_png(path: Path, size: tuple[int, int]) -> bool:
    """Tell whether `path` is an undamaged PNG of (height, width) `size`.

    Checksums are compared, pixels are not decoded: this costs little more than opening the file.
    """
    try:
        data = path.read_bytes()
    except OSError:  # missing
        return False
    return size_in_header(data) == size and end_of_chunks(data) == len(data)


def png_size(path: Path) -> tuple[int, int] | None:
    """Return a PNG's (height, width) from its first bytes; None for another file."""
    try:
        with path.open("rb") as file:
            return size_in_header(file.read(HEADER_BYTES))
    except OSError:
        return None
