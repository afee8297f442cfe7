"""PNGs of every kind: any bits, colour type and palette, interlaced or not, with any chunks."""

import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
PASSES = (  # Adam7: left, top, step to the right, step down
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def header(size: tuple[int, int], bits: int, color_type: int, interlace: int = 0) -> bytes:
    """`size` is (height, width)."""
    return chunk(
        b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], bits, color_type, 0, 0, interlace)
    )


def packed_rows(samples: np.ndarray, bits: int) -> bytes:
    """The bytes of the rows of one image or pass; each row begins with filter 0."""
    flat = samples.reshape(samples.shape[0], -1)
    if bits == 16:
        rows = [row.astype(">u2").tobytes() for row in flat]
    else:
        shifts = np.arange(bits)[::-1]
        rows = [np.packbits((row[:, None] >> shifts & 1).ravel()).tobytes() for row in flat]
    return b"".join(b"\0" + row for row in rows)


def encode_png(
    samples: np.ndarray,
    *,
    bits: int = 8,
    color_type: int = GREY,
    palette: Sequence[Sequence[int]] | None = None,
    interlaced: bool = False,
    extra: Iterable[bytes] = (),
) -> bytes:
    """The bytes of a PNG with these samples; with a `palette` the samples are its indices."""
    samples = np.asarray(samples)
    color_type = PALETTE if palette is not None else color_type
    if interlaced:
        parts = (samples[y::down, x::across] for x, y, across, down in PASSES)
        rows = b"".join(packed_rows(part, bits) for part in parts if part.size)
    else:
        rows = packed_rows(samples, bits)
    colors = b"" if palette is None else chunk(b"PLTE", np.array(palette, np.uint8).tobytes())
    return b"".join(
        (
            SIGNATURE,
            header(samples.shape[:2], bits, color_type, int(interlaced)),
            colors,
            *extra,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND"),
        )
    )


def write_png(path: Path, samples: np.ndarray, **how: object) -> Path:
    """Write what `encode_png` returns, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(samples, **how))
    return path


def renumbered(labels: np.ndarray, palette: np.ndarray, order: Sequence[int] | None = None):
    """Indices and palette as pngquant writes them: only the used colours, in another order."""
    used = np.unique(labels).tolist() if order is None else list(order)
    table = np.zeros(256, np.uint8)
    table[used] = np.arange(len(used))
    return table[labels], [palette[label].tolist() for label in used]
