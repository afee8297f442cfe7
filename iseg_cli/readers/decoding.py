"""Decodes image files to upright RGB pixels."""

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from iseg_cli.errors import ImageError, IsegError
from iseg_cli.files.pillow import LIMIT_VARIABLE, pixel_limit, raise_limit_of_pillow
from iseg_cli.readers.file_kinds import HEAD_LENGTH, formats_of, kind_of, refusal

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
_NEW_SUBFILE_TYPE = 254  # TIFF 6.0, section 8: bit 0 marks a reduced version of another picture


class DecodedImage(NamedTuple):
    """The upright pixels of an image, and its orientation in the file.

    Attributes:
        pixels: RGB, 0 to 255, upright.
        orientation: the EXIF orientation (2 to 8) by which Pillow's pixels were turned or mirrored;
            None if they were not.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    orientation: int | None


def decode_image(path: Path) -> DecodedImage:
    """Return an image in RGB, 0 to 255, upright as its EXIF orientation says.

    Grey, palette and CMYK become RGB. 16 bits are scaled to 8 (65535 becomes 255). The background
    of transparent pixels is white. Only the first frame is read. ImageError, with the file, if it
    is missing, damaged, larger than `pixel_limit` or of a kind that iseg does not read.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        rgb = _to_rgb(image, path)
        if orientation not in _UPRIGHT:
            return DecodedImage(np.array(rgb, dtype=np.uint8), None)
        rgb = rgb.transpose(_UPRIGHT[orientation])
        return DecodedImage(np.array(rgb, dtype=np.uint8), orientation)


def load_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Return `decode_image(path).pixels`."""
    return decode_image(path).pixels


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of the upright image in pixels, from its header alone.

    ImageError, with the file, if it is missing or no image.
    """
    with _opened(path) as image:
        width, height = image.size
        return (width, height) if _orientation(image) in _SWAP_SIDES else (height, width)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image; every exception until the block ends becomes an ImageError."""
    limit = pixel_limit()
    raise_limit_of_pillow(limit)
    try:
        with _open_file(path) as file:
            formats = _formats(file, path, limit)
            with Image.open(file, formats=formats) as image:
                _check_size(image.size, path, limit)
                _refuse_preview(image, path)
                yield image
    except IsegError:
        raise
    except FileNotFoundError as error:
        if path.is_symlink():
            raise ImageError(f"{path} is a link to a file that is not there; replace it") from error
        raise ImageError(f"there is no image {path}") from error
    except PermissionError as error:
        raise ImageError(f"{path} may not be read; change its permissions") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(_too_large(path, limit)) from error
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory; scale it down") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is no image that can be read; replace it") from error
    except Exception as error:  # Pillow's decoders raise anything for damaged bytes
        if isinstance(error, OSError) and error.strerror:
            raise ImageError(f"{path} cannot be read ({error.strerror}); replace it") from error
        raise ImageError(f"{path} is broken or truncated ({error}); replace it") from error


def _formats(file: BinaryIO, path: Path, limit: int) -> tuple[str, ...]:
    """Return the formats that can read the content of a file; ImageError if there is none."""
    head = file.read(HEAD_LENGTH)
    file.seek(0)
    if not head:
        raise ImageError(f"{path} is no image but an empty file; replace it")
    kind = kind_of(head)
    formats = formats_of(kind)
    if kind is not None and not formats:
        raise ImageError(f"{path} {refusal(kind)}")
    if kind == "WEBP":  # Pillow takes the memory of the canvas when it opens one
        _check_size(_webp_size(head), path, limit)
    return formats


def _webp_size(head: bytes) -> tuple[int, int]:
    """Return (width, height) from the header of a WebP file (RFC 9649, 2.4 to 2.7)."""
    kind, body = head[12:16], head[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", body[6:10])
    return width & 0x3FFF, height & 0x3FFF


def _check_size(size: tuple[int, int], path: Path, limit: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{path} is {width} wide and {height} high, which is no image; replace it")
    if width * height > limit:
        raise ImageError(_too_large(path, limit))


def _refuse_preview(image: Image.Image, path: Path) -> None:
    """Raise ImageError for the small preview at the beginning of a raw photograph."""
    if isinstance(image, TiffImageFile):
        kind = image.tag_v2.get(_NEW_SUBFILE_TYPE, 0)
        if isinstance(kind, int) and kind & 1:
            raise ImageError(
                f"{path} begins with a small preview, as raw photographs do; save the picture "
                "itself as JPEG, PNG or TIFF"
            )


def _open_file(path: Path) -> BinaryIO:
    """Open a regular file; ImageError for anything else, because reading a pipe would block."""
    descriptor = os.open(path, os.O_RDONLY | _NO_WAIT)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImageError(f"{path} is no file; replace it")
    return os.fdopen(descriptor, "rb")


def _too_large(path: Path, limit: int) -> str:
    return (
        f"{path} has more than {limit} pixels; scale it down, cut it into tiles, or set "
        f"{LIMIT_VARIABLE} to the number of pixels that an image may have"
    )


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation (1 to 8) of an image before it is decoded."""
    # Pillow turns a TIFF at decoding and swaps its size before; libheif does so with HEIC.
    if image.format in ("TIFF", "HEIF"):
        return 1
    # Pillow would decode the whole file of a PNG without EXIF.
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # the pixels are good even if the EXIF block is damaged
        return 1


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_16_bit(image, path)
    if image.mode == "F":
        raise ImageError(f"{path} holds floating-point pixels; save it with 8 or 16 bits")
    if image.mode == "LAB":
        raise ImageError(f"{path} holds CIELAB colours, which iseg does not read; save it as RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # convert would copy an RGB image


def _from_16_bit(image: Image.Image, path: Path) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise ImageError(f"{path} holds more than 16 bits a pixel; save it with 8 or 16 bits")
    grey = (values + 128) // 257  # 65535 / 255 = 257, rounded to the nearest
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
