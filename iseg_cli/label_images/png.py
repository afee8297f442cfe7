"""Reads the stored samples of a PNG; the header is checked before memory is taken."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image

from iseg_cli.errors import DataError
from iseg_cli.files.pillow import LIMIT_VARIABLE, pixel_limit

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Signature, IHDR's length and name, width, height, bits, colour type, two methods, interlace.
_HEADER = struct.Struct(">8sI4sIIBBBBB")
HEADER_BYTES = _HEADER.size
"""The number of bytes that `size_in_header` needs."""
_CHUNK = struct.Struct(">I4s")  # length of the data, name; then come the data and a CRC of both

# PNG specification, 11.2.1: colour type -> samples a pixel, and the allowed bits of a sample.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# PNG specification, 8.2: first column, first row and steps of each pass of an interlaced PNG.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)

# The exceptions that Pillow and zlib raise for damaged files.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


@dataclass(frozen=True, eq=False)
class Pixels:
    """The stored samples of a PNG without transparent pixels.

    Attributes:
        kind: `grey`, `palette` (a sample is an index) or `rgb` (three samples a pixel).
        bits: the bits of a sample: 1, 2, 4, 8, or 16 (only for `grey`).
        samples: the stored values; grey values of fewer than 8 bits are not scaled to 255.
        palette: the RGB colour of each index; empty for `grey` and `rgb`.
    """

    kind: Literal["grey", "palette", "rgb"]
    bits: int
    samples: UInt8[np.ndarray, "height width *channels"] | UInt16[np.ndarray, "height width"]
    palette: UInt8[np.ndarray, "entries 3"]


class DamagedPngError(DataError):
    """A PNG file is truncated, has a wrong checksum or breaks the format."""


def read_pixels(path: Path) -> Pixels:
    """Return the samples of a PNG.

    DataError, with the file, if it is missing, no PNG, damaged or too large, or if it has
    transparent pixels or colours of 16 bits.
    """
    data = _read(path)
    if not data.startswith(_SIGNATURE):
        raise DataError(f"{path} is no PNG; save the mask as PNG")
    critical = _critical_chunks(data)
    if critical is None or size_in_header(data) is None or len(critical[b"IHDR"]) != 13:
        raise DamagedPngError(f"{path} is broken or truncated; replace it")
    *_, width, height, bits, color_type, _, _, interlace = _HEADER.unpack_from(data)
    if bits not in _BITS.get(color_type, ()) or not width or not height or interlace > 1:
        raise DamagedPngError(f"{path} is broken (its header is invalid); replace it")
    if width * height > (limit := pixel_limit()):
        raise DataError(
            f"{path} has more than {limit} pixels; scale it down, cut it into tiles or set "
            f"{LIMIT_VARIABLE}"
        )
    if bits == 16 and color_type != 0:
        raise DataError(f"{path} holds colours of 16 bits; save the mask with 8 bits")
    if color_type == 3 and not 3 <= len(critical[b"PLTE"]) <= 768:
        raise DamagedPngError(f"{path} is broken (it has no palette); replace it")
    wanted = _bytes_of_pixels(width, height, bits * _CHANNELS[color_type], interlace == 1)
    try:
        rows = zlib.decompressobj().decompress(critical[b"IDAT"], wanted)
        if len(rows) < wanted:  # Pillow fills the rest with 0
            raise DamagedPngError(f"{path} is broken or truncated; replace it")
        plain = bits == 8 and _CHANNELS[color_type] == 1 and not interlace
        samples = _unfiltered(rows, width) if plain else None
        if samples is None:
            with Image.open(io.BytesIO(_bare(critical)), formats=["PNG"]) as image:
                samples = np.array(image)
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory; scale it down") from error
    except _BROKEN as error:
        raise DamagedPngError(f"{path} is broken or truncated ({error}); replace it") from error
    if color_type in (4, 6):
        samples = _opaque(samples, path)
    if color_type == 0 and bits in (2, 4):  # Pillow stretches them to 0..255
        samples = samples // (255 // (2**bits - 1))
    palette = np.frombuffer(critical[b"PLTE"], np.uint8)
    return Pixels(
        kind="palette" if color_type == 3 else "rgb" if color_type in (2, 6) else "grey",
        bits=bits,
        samples=samples if bits == 16 else samples.astype(np.uint8, copy=False),
        palette=palette[: len(palette) // 3 * 3].reshape(-1, 3),
    )


def size_in_header(head: bytes) -> tuple[int, int] | None:
    """Return (height, width) from the first bytes of a PNG; None if they are not of a PNG."""
    if len(head) < _HEADER.size:
        return None
    signature, _, name, width, height, *_ = _HEADER.unpack_from(head)
    return (height, width) if signature == _SIGNATURE and name == b"IHDR" else None


def end_of_chunks(data: bytes) -> int | None:
    """Return the offset of a PNG's end; None if a chunk is truncated or has a wrong checksum."""
    for name, _, end in _chunks(data):
        if name == b"IEND":
            return end
    return None


def counted_pixels(count: int, kind: str = "") -> str:
    """Return a number of pixels in words: `1 pixel`, or with a kind `2 transparent pixels`."""
    return " ".join(filter(None, (str(count), kind, "pixel" if count == 1 else "pixels")))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Yield name, data and end of each chunk; stop at the first that is truncated or changed."""
    view, start = memoryview(data), len(_SIGNATURE)
    while len(data) - start >= _CHUNK.size + 4:
        length, name = _CHUNK.unpack_from(data, start)
        end = start + _CHUNK.size + int(length)
        checksum = zlib.crc32(view[start + 4 : end])  # PNG specification, 5.5
        if data[end : end + 4] != checksum.to_bytes(4, "big"):
            return
        yield name, view[start + _CHUNK.size : end], end + 4
        start = end + 4


def _critical_chunks(data: bytes) -> dict[bytes, bytes] | None:
    """Return the chunks that pixels depend on: the first IHDR and PLTE, and all IDAT joined.

    None if a chunk is truncated or has a wrong checksum.
    """
    found: dict[bytes, list[memoryview]] = {b"IHDR": [], b"PLTE": [], b"IDAT": []}
    for name, contents, _ in _chunks(data):
        if name in found:
            found[name].append(contents)
        if name == b"IEND":
            return {
                name: b"".join(parts if name == b"IDAT" else parts[:1])
                for name, parts in found.items()
            }
    return None


def _bare(critical: dict[bytes, bytes]) -> bytes:
    """Return a PNG of these chunks alone, without texts, profiles and animation."""
    chunks = [(name, value) for name, value in critical.items() if value] + [(b"IEND", b"")]
    return _SIGNATURE + b"".join(
        len(value).to_bytes(4, "big")
        + name
        + value
        + zlib.crc32(value, zlib.crc32(name)).to_bytes(4, "big")
        for name, value in chunks
    )


def _bytes_of_pixels(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Return the number of decompressed bytes: the pixels, and a filter byte for each row."""
    total = 0
    for column, row, across, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - column) // across), -(-(height - row) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def _unfiltered(rows: bytes, width: int) -> UInt8[np.ndarray, "height width"] | None:
    """Return the samples of rows without filters, as Pillow writes palette PNGs; else None."""
    table = np.frombuffer(rows, np.uint8).reshape(-1, 1 + width)
    return None if table[:, 0].any() else np.ascontiguousarray(table[:, 1:])


def _opaque(samples: UInt8[np.ndarray, "height width channels"], path: Path) -> np.ndarray:
    """Return samples without alpha, the last channel; DataError if a pixel is transparent."""
    if clear := int(np.count_nonzero(samples[..., -1] != 255)):
        raise DataError(
            f"{path} has {counted_pixels(clear, 'transparent')}; save the mask without transparency"
        )
    colors = samples[..., :-1]
    return colors[..., 0] if colors.shape[-1] == 1 else colors


def _read(path: Path) -> bytes:
    if not path.exists():
        raise DataError(f"there is no mask {path}")
    if not path.is_file():  # reading a pipe would block
        raise DataError(f"{path} is no file; replace it")
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise DataError(f"{path} may not be read; change its permissions") from error
    except OSError as error:
        raise DataError(f"cannot read the mask {path}: {error.strerror}") from error
