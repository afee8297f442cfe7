"""Damaged files: whatever is cut, flipped or put in, an image comes out or an ImageError."""

import contextlib
import io
import os
import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from iseg_cli.errors import ImageError
from iseg_cli.files.pillow import set_up_pillow
from iseg_cli.readers.decoding import decode_image, image_size

EXAMPLES = int(os.environ.get("ISEG_FUZZ_EXAMPLES", "300"))
"""Set it to 10000 for a long run."""

MOST_PIXELS = 1_000_000

FILES = {
    "jpg": {},
    "progressive.jpg": {"progressive": True},
    "cmyk.jpg": {"mode": "CMYK"},
    "mpo": {"save_all": True},
    "png": {},
    "palette.png": {"mode": "P", "transparency": 3},
    "deep.png": {"mode": "I;16"},
    "apng": {"format": "PNG", "save_all": True},
    "webp": {},
    "lossless.webp": {"lossless": True},
    "animated.webp": {"save_all": True},
    "gif": {},
    "animated.gif": {"save_all": True},
    "tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "jpeg.tif": {"compression": "jpeg"},
    "fax.tif": {"mode": "1", "compression": "group4"},
    "bmp": {},
    "palette.bmp": {"mode": "P"},
    "avif": {},
    "ppm": {},
    "heic": {"format": "HEIF"},
}


@cache
def valid(name: str) -> bytes:
    """A small picture in the format of a name, with EXIF where the format has it."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    options = dict(FILES[name])
    mode = options.pop("mode", "RGB")
    kind = options.pop("format", None) or Image.registered_extensions()[f".{name.split('.')[-1]}"]
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    if mode == "I;16":
        image = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    elif mode != "RGB":
        image = image.convert(mode)
    if options.get("save_all"):
        options["append_images"] = [image.rotate(90)]
    if kind not in ("BMP", "PPM", "GIF"):
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "a camera"
        options["exif"] = exif
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def damaged(seed: int) -> bytes:
    """A valid file after some damage, half of which falls on the headers; rarely on the first 4."""
    rng = random.Random(seed)
    content = bytearray(valid(rng.choice(sorted(FILES))))
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        first = 0 if rng.random() < 0.05 else 4
        end = min(len(content), rng.choice((40, 200, len(content))))
        place = rng.randrange(first, max(end, first + 1))
        how = rng.choice(("set", "set", "bit", "bit", "cut", "insert", "double", "end"))
        if how == "set":
            content[place : place + 1] = bytes([rng.choice((0, 1, 127, 128, 254, 255))])
        elif how == "bit" and place < len(content):
            content[place] ^= 1 << rng.randrange(8)
        elif how == "cut":
            del content[place : place + rng.randint(1, 16)]
        elif how == "insert":
            content[place:place] = rng.randbytes(rng.randint(1, 8))
        elif how == "double":
            content[place:place] = content[place : place + rng.randint(1, 64)]
        elif how == "end":
            del content[rng.randrange(first, len(content) + 1) :]
    return bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_undamaged_they_are_images(tmp_path: Path, name: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(valid(name))
    assert decode_image(path).pixels.shape[:2] == image_size(path)
    assert set(image_size(path)) == {24, 32}


@given(seed=st.integers(0, 2**32 - 1))
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_damaged_file_is_an_image_or_an_image_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("ISEG_MAX_PIXELS", str(MOST_PIXELS))
    set_up_pillow()
    path = tmp_path / "picture"
    path.write_bytes(damaged(seed))
    for function in (decode_image, image_size):
        with contextlib.suppress(ImageError):
            found = function(path)
            size = found if function is image_size else found.pixels.shape[:2]
            assert 1 <= size[0] * size[1] <= MOST_PIXELS
