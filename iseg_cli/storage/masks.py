"""Masks as 8-bit palette PNGs, and pictures as JPEGs."""

import io
import struct
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from iseg_cli.errors import PredictionsError
from iseg_cli.samples import Mask

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(
    ">8sI4sIIBB"
)  # signature, IHDR's length and name, width, height, depth, type
_END = struct.pack(">I4sI", 0, b"IEND", 0xAE426082)
_GRAY, _PALETTE = 0, 3  # PNG's colour types with one channel


def encode_mask(mask: Mask, palette: UInt8[np.ndarray, "256 3"]) -> bytes:
    """Return the mask as a palette PNG: pixel values are labels, `palette` their RGB colours.

    The same mask and palette give the same bytes.
    """
    image = Image.fromarray(np.ascontiguousarray(mask.labels))
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


def read_mask(path: Path) -> Mask:
    """Return the labels of a single-channel 8-bit PNG (palette or grey).

    PredictionsError, naming the file, where it is missing, truncated or holds colours.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PredictionsError(f"cannot read the mask {path}: {error.strerror}") from error
    if len(data) < _HEADER.size or not data.startswith(_SIGNATURE):
        raise PredictionsError(f"{path} is no PNG; make it again with iseg generate")
    *_, depth, color_type = _HEADER.unpack_from(data)
    # Pillow stretches grey values of fewer bits to 0..255: label 1 would be read as 17.
    if color_type not in (_GRAY, _PALETTE) or (color_type == _GRAY and depth != 8):
        raise PredictionsError(f"{path} is no mask: its pixels are not single 8-bit labels")
    damaged = PredictionsError(f"{path} is truncated or damaged; delete it and rerun iseg generate")
    if _END not in data:  # Pillow would fill in what is missing near the end
        raise damaged
    try:
        with Image.open(io.BytesIO(data)) as image:
            return Mask(np.array(image, dtype=np.uint8))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's three words for a broken PNG
        raise damaged from error


def is_whole_png(path: Path, size: tuple[int, int]) -> bool:
    """Tell whether `path` is a PNG of (height, width) `size` that was written to its end.

    Only its first and last bytes are read, so that tens of thousands are checked in seconds.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
            file.seek(-len(_END), 2)
            tail = file.read()
    except OSError:  # missing, or shorter than an end
        return False
    return _size_in(head) == size and tail == _END


def png_size(path: Path) -> tuple[int, int] | None:
    """Return a PNG's (height, width) from its first bytes; None for what is no PNG."""
    try:
        with path.open("rb") as file:
            return _size_in(file.read(_HEADER.size))
    except OSError:
        return None


def _size_in(head: bytes) -> tuple[int, int] | None:
    """Return (height, width) as the first bytes of a PNG have it; None for those of no PNG."""
    if len(head) < _HEADER.size:
        return None
    signature, _, name, width, height, _, _ = _HEADER.unpack(head)
    return (height, width) if signature == _SIGNATURE and name == b"IHDR" else None
