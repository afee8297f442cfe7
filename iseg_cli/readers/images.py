"""Decodes images to RGB; what cannot be decoded is named in one sentence."""

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from iseg_cli.errors import ImageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Endings, in lower case, of the files that count as images."""

MAX_PIXELS = 89_478_485
"""The largest image that is decoded (Pillow's own limit against decompression bombs)."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""What is decoded, whatever a file's ending: the others of Pillow's run programs (EPS), or are read
in ways of their own."""

# What Pillow lets through for broken files, besides its own UnidentifiedImageError (an OSError).
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)

_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

# EXIF orientation -> what turns the stored image upright (EXIF 2.32, tag 0x0112).
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAP_SIDES = (5, 6, 7, 8)


def load_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Decode an image to RGB, 0 to 255, upright as its EXIF orientation says.

    Grey, palette and CMYK become RGB; 16 bits are scaled to 8 (65535 becomes 255); transparency is
    laid over white; of several frames the first is taken. ImageError, naming the file, if it is
    missing, broken, truncated, larger than `MAX_PIXELS` or of a kind that has no colours.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        rgb = _to_rgb(image, path)
        if orientation in _UPRIGHT:
            rgb = rgb.transpose(_UPRIGHT[orientation])
        return np.array(rgb, dtype=np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) in pixels after EXIF orientation, from the header alone.

    ImageError, naming the file, if it is missing or no image.
    """
    with _opened(path) as image:
        width, height = image.size
        return (width, height) if _orientation(image) in _SWAP_SIDES else (height, width)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image; whatever goes wrong until the block ends becomes an ImageError."""
    try:
        with _open_file(path) as file, Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(_too_large(path))
            yield image
    except FileNotFoundError as error:
        raise ImageError(f"there is no image {path}") from error
    except PermissionError as error:
        raise ImageError(f"{path} may not be read; give the right to read it") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(_too_large(path)) from error
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory; scale it down") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is no image that can be read; replace it") from error
    except _BROKEN as error:
        raise ImageError(f"{path} is broken or truncated ({error}); replace it") from error


def _open_file(path: Path) -> BinaryIO:
    """Open a file for reading, and nothing else: a pipe among the images would be waited for."""
    descriptor = os.open(path, os.O_RDONLY | _NO_WAIT)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImageError(f"{path} is no file; replace it")
    return os.fdopen(descriptor, "rb")


def _too_large(path: Path) -> str:
    return f"{path} has more than {MAX_PIXELS} pixels; scale it down or cut it into tiles"


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation (1 to 8) of an image that is not decoded yet."""
    if image.format == "TIFF":  # Pillow turns these while it decodes, and swaps their size before
        return 1
    # Asking a PNG without EXIF for it would decode the whole file.
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except (*_BROKEN, KeyError, TypeError):
        return 1  # a broken EXIF block is no reason to lose the pixels


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_16_bit(image, path)
    if image.mode == "F":
        raise ImageError(f"{path} holds floating-point pixels; save it with 8 or 16 bits")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image, path: Path) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise ImageError(f"{path} holds more than 16 bits a pixel; save it with 8 or 16 bits")
    grey = (values + 128) // 257  # 65535 / 255 = 257, rounded to the nearest
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
