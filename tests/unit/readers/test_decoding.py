"""Decoding: every kind of image to RGB, every kind of mask to labels, every fault named."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from iseg_cli.errors import ImageError, SettingsError
from iseg_cli.files.pillow import MAX_PIXELS, pixel_limit, set_up_pillow
from iseg_cli.readers.decoding import decode_image, image_size, load_image

# Four corners in four colours: every turn and every flip tells itself apart.
CORNERS = np.array(
    [[[250, 0, 0], [0, 250, 0], [0, 250, 0]], [[0, 0, 250], [250, 250, 0], [250, 250, 0]]],
    dtype=np.uint8,
)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def write_png(path: Path, bits: int, color_type: int, rows: list[bytes], width: int) -> Path:
    """A PNG written by hand: Pillow writes no grey ones of 2 or 4 bits."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, len(rows), bits, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "webp"])
def test_colours_come_back_as_they_were(tmp_path: Path, ending: str) -> None:
    path = saved(Image.fromarray(CORNERS), tmp_path / f"a.{ending}", lossless=True)
    np.testing.assert_array_equal(load_image(path), CORNERS)
    assert image_size(path) == (2, 3)


def test_jpeg_keeps_size_and_colours_nearly(tmp_path: Path) -> None:
    pixels = np.full((6, 8, 3), (200, 100, 50), dtype=np.uint8)
    path = saved(Image.fromarray(pixels), tmp_path / "a.jpg", quality=95)
    assert np.abs(load_image(path).astype(int) - pixels).max() <= 4


# Where EXIF 2.32 puts row 0 and column 0 of the stored image, undone by hand.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    saved(Image.fromarray(CORNERS), path, exif=exif, lossless=True)
    expected = UPRIGHT[orientation](CORNERS)
    decoded = decode_image(path)
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert image_size(path) == expected.shape[:2]
    # Pillow turns TIFF itself: whoever reads with it meets the image as we do.
    assert decoded.orientation == (None if ending == "tif" or orientation == 1 else orientation)


def test_exif_of_a_phones_jpeg_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.new("RGB", (80, 40), (10, 200, 30))
    path = saved(wide, tmp_path / "a.jpg", exif=exif)
    assert load_image(path).shape == (80, 40, 3)
    assert image_size(path) == (80, 40)


def test_broken_exif_does_not_lose_the_pixels(tmp_path: Path) -> None:
    path = saved(Image.fromarray(CORNERS), tmp_path / "a.webp", lossless=True, exif=b"Exif\0\0junk")
    np.testing.assert_array_equal(load_image(path), CORNERS)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    grey = np.array([[0, 7], [128, 255]], dtype=np.uint8)
    loaded = load_image(saved(Image.fromarray(grey), tmp_path / "a.png"))
    np.testing.assert_array_equal(loaded, np.repeat(grey[..., None], 3, axis=2))


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    bits = Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")
    assert load_image(saved(bits, tmp_path / "a.png")).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_palette_is_looked_up(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[1, 0]], dtype=np.uint8))
    palette.putpalette([9, 8, 7, 60, 50, 40])
    assert load_image(saved(palette, tmp_path / "a.png")).tolist() == [[[60, 50, 40], [9, 8, 7]]]


def test_a_transparent_palette_colour_is_white(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[1, 0]], dtype=np.uint8))
    palette.putpalette([9, 8, 7, 60, 50, 40])
    path = saved(palette, tmp_path / "a.png", transparency=bytes([0, 255]))
    assert load_image(path).tolist() == [[[60, 50, 40], [255, 255, 255]]]


def test_alpha_is_laid_over_white(tmp_path: Path) -> None:
    rgba = np.array([[[100, 0, 0, 255], [100, 0, 0, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    loaded = load_image(saved(Image.fromarray(rgba), tmp_path / "a.png"))
    assert loaded.tolist() == [[[100, 0, 0], [255, 255, 255], [204, 204, 204]]]


def test_grey_with_alpha_is_laid_over_white(tmp_path: Path) -> None:
    image = Image.merge("LA", (Image.new("L", (1, 1), 40), Image.new("L", (1, 1), 0)))
    assert load_image(saved(image, tmp_path / "a.png")).tolist() == [[[255, 255, 255]]]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    red, green, blue = load_image(saved(image, tmp_path / "a.jpg", quality=95))[4, 4].tolist()
    assert red > 240
    assert max(green, blue) < 15


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20))
@settings(max_examples=30)
def test_16_bits_are_scaled_not_clipped(tmp_path_factory: pytest.TempPathFactory, values) -> None:
    path = tmp_path_factory.mktemp("deep") / "a.png"
    saved(Image.fromarray(np.array([values], dtype=np.uint16)), path)
    expected = [int(np.floor(value / 257 + 0.5)) for value in values]
    assert load_image(path)[0, :, 0].tolist() == expected


def test_16_bits_of_the_other_byte_order(tmp_path: Path) -> None:
    rows = [struct.pack(">3H", 0, 257 * 100, 65535)]
    path = write_png(tmp_path / "a.png", bits=16, color_type=0, rows=rows, width=3)
    assert load_image(path)[0, :, 0].tolist() == [0, 100, 255]


def test_values_beyond_16_bits_are_refused(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.array([[70000]], dtype=np.int32)), tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif holds more than 16 bits"):
        load_image(path)


def test_floating_point_is_refused(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.array([[0.5]], dtype=np.float32)), tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif holds floating-point pixels"):
        load_image(path)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    for function in (load_image, image_size):
        with pytest.raises(ImageError, match=r"there is no image .*nowhere\.jpg"):
            function(tmp_path / "nowhere.jpg")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>"], ids=["empty", "a web page"])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.jpg is no image"):
        load_image(path)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "bmp", "tif"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1])
def test_a_truncated_image_is_named(tmp_path: Path, ending: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    path = saved(Image.fromarray(noise), tmp_path / f"a.{ending}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ImageError, match=rf"a\.{ending} is"):
        load_image(path)


def test_an_image_beyond_the_limit_is_named(tmp_path: Path, monkeypatch) -> None:
    path = saved(Image.fromarray(CORNERS), tmp_path / "a.png")  # 2 x 3 pixels
    monkeypatch.setenv("ISEG_MAX_PIXELS", "5")
    with pytest.raises(ImageError, match=r"a\.png has more than 5 pixels.* set ISEG_MAX_PIXELS"):
        load_image(path)
    monkeypatch.setenv("ISEG_MAX_PIXELS", "6")
    np.testing.assert_array_equal(load_image(path), CORNERS)


def test_the_limit_is_pillows_unless_the_user_says_so(monkeypatch) -> None:
    monkeypatch.delenv("ISEG_MAX_PIXELS", raising=False)
    assert pixel_limit() == 89_478_485
    monkeypatch.setenv("ISEG_MAX_PIXELS", " 200000000 ")
    assert pixel_limit() == 200_000_000
    for wrong in ("0", "-1", "89MP", "1e9"):
        monkeypatch.setenv("ISEG_MAX_PIXELS", wrong)
        with pytest.raises(SettingsError, match=f"ISEG_MAX_PIXELS is '{wrong}'"):
            pixel_limit()


def test_a_raised_limit_raises_that_of_pillow(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.png"  # Pillow refuses twice its own limit, which this image exceeds
    side = 13_400
    rows = [b"\xff" * (side // 8)] * side
    write_png(path, bits=1, color_type=0, rows=rows, width=side)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    with pytest.raises(ImageError, match=r"a\.png has more than 89478485 pixels"):
        image_size(path)
    monkeypatch.setenv("ISEG_MAX_PIXELS", str(side * side))
    assert image_size(path) == (side, side)
    monkeypatch.setenv("ISEG_MAX_PIXELS", str(side * side - 1))
    with pytest.raises(ImageError, match=f"has more than {side * side - 1} pixels"):
        image_size(path)


def test_a_command_gives_pillow_the_limit_at_its_start(monkeypatch) -> None:
    """Masks of large images are read where no image is: by `iseg evaluate`."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    set_up_pillow()
    assert Image.MAX_IMAGE_PIXELS == MAX_PIXELS
    monkeypatch.setenv("ISEG_MAX_PIXELS", "200000000")
    set_up_pillow()
    assert Image.MAX_IMAGE_PIXELS == 200_000_000


def test_a_lower_limit_of_the_program_around_it_stays(tmp_path: Path, monkeypatch) -> None:
    path = saved(Image.fromarray(CORNERS), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(ImageError, match=r"a\.png has more than"):
        load_image(path)
    assert Image.MAX_IMAGE_PIXELS == 2


def test_a_decompression_bomb_is_named(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", bits=1, color_type=0, rows=[b"\0"], width=1)
    content = path.read_bytes()
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)
    check = struct.pack(">I", zlib.crc32(header))
    path.write_bytes(content[:12] + header + check + content[33:])
    with pytest.raises(ImageError, match=r"a\.png has more than \d+ pixels"):
        load_image(path)
