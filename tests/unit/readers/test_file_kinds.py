"""Kinds of pictures: what is read whatever its name, what is refused and with which advice."""

import io
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from iseg_cli.errors import ImageError
from iseg_cli.readers import file_kinds
from iseg_cli.readers.decoding import decode_image, image_size, load_image
from iseg_cli.readers.file_kinds import fault_of_kind, kind_of, looks_like_image

pillow_heif.register_heif_opener()

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
RED, GREEN, BLUE, YELLOW = (250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)


def quarters(height: int = 48, width: int = 64) -> np.ndarray:
    """Red and green above blue and yellow."""
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, YELLOW
    return pixels


def seen(pixels: np.ndarray) -> str:
    """The colours of the quarters, row by row, after a lossy format."""
    height, width = pixels.shape[:2]
    middles = [pixels[y * height // 4, x * width // 4].astype(int) for y in (1, 3) for x in (1, 3)]
    colours = np.array([RED, GREEN, BLUE, YELLOW])
    return "".join("RGBY"[np.abs(colours - middle).sum(1).argmin()] for middle in middles)


def encoded(kind: str, pixels: np.ndarray | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(quarters() if pixels is None else pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture
def no_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_kinds, "_can_read_heic", lambda: False)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("JPEG", f"a.{end}") for end in ("jpg", "jpe", "jfif", "JFIF", "jif", "pjpeg", "mpo")),
        *(("PPM", f"a.{end}") for end in ("ppm", "pnm")),
        ("AVIF", "a.avif"),
        ("GIF", "a.gif"),
        ("HEIF", "IMG_0001.HEIC"),
        # Another format than the ending says.
        *(("PNG", f"a.{end}") for end in ("jpg", "HEIC", "jp2", "cr2")),
        *(("JPEG", f"a.{end}") for end in ("png", "HEIC", "psd")),
        *(("HEIF", f"a.{end}") for end in ("jpg", "png")),
        ("AVIF", "a.jpg"),
        ("WEBP", "a.jpg"),
    ],
)
def test_the_content_says_how_it_is_read(tmp_path: Path, kind: str, name: str) -> None:
    path = write(tmp_path / name, encoded(kind))
    assert fault_of_kind(path) is None
    assert seen(load_image(path)) == "RGBY"
    assert image_size(path) == (48, 64)


def test_of_a_phones_pair_of_pictures_the_first_is_taken(tmp_path: Path) -> None:
    other = Image.fromarray(quarters()[::-1])
    path = write(tmp_path / "a.jpg", encoded("MPO", save_all=True, append_images=[other]))
    with Image.open(path) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    assert seen(load_image(path)) == "RGBY"


# What is seen of a file that holds RG above BY, by EXIF orientation (EXIF 2.32, tag 0x0112).
TURNED = {2: "GRYB", 3: "YBGR", 4: "BYRG", 5: "RBGY", 6: "BRYG", 7: "YGBR", 8: "GYRB"}


@pytest.mark.parametrize("kind", ["AVIF", "JPEG", "MPO"])
@pytest.mark.parametrize("orientation", TURNED)
def test_exif_turns_it_once(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write(tmp_path / "a", encoded(kind, exif=exif, quality=95))
    decoded = decode_image(path)
    assert seen(decoded.pixels) == TURNED[orientation]
    assert (
        decoded.pixels.shape[:2] == image_size(path) == ((64, 48) if orientation > 4 else (48, 64))
    )
    assert decoded.orientation == orientation


@pytest.mark.parametrize("orientation", TURNED)
def test_heic_is_turned_by_its_decoder_alone(tmp_path: Path, orientation: int) -> None:
    """As phones write it: the container says how to turn the pixels, and EXIF repeats it."""
    image = Image.fromarray(quarters())
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.info["exif"] = exif.tobytes()
    path = tmp_path / "IMG_1.HEIC"
    image.save(path, "HEIF", quality=95)
    assert (b"irot" in path.read_bytes()) or (b"imir" in path.read_bytes())
    decoded = decode_image(path)
    assert seen(decoded.pixels) == TURNED[orientation]
    assert (
        decoded.pixels.shape[:2] == image_size(path) == ((64, 48) if orientation > 4 else (48, 64))
    )
    assert decoded.orientation is None


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "a.heif", "a.hif", "a.jpg"])
def test_heic_without_its_plug_in_says_what_to_install(
    tmp_path: Path, no_heic: None, name: str
) -> None:
    path = write(tmp_path / name, HEIC + bytes(64))
    sentence = (
        r'is a HEIC picture, which needs a plug-in; pip install "iseg-cli\[heic\]" to read it'
    )
    with pytest.raises(ImageError, match=f"{name} {sentence}"):
        load_image(path)
    expected = None if name == "a.jpg" else True  # only its content tells
    assert (fault_of_kind(path) is not None) == bool(expected)


def test_a_jpeg_called_heic_needs_no_plug_in(tmp_path: Path, no_heic: None) -> None:
    path = write(tmp_path / "IMG_1.HEIC", encoded("JPEG"))
    assert fault_of_kind(path) is None
    assert seen(load_image(path)) == "RGBY"


def test_heic_that_is_damaged_is_named(tmp_path: Path) -> None:
    content = encoded("HEIF")
    for kept in (40, len(content) // 2):
        path = write(tmp_path / "IMG_1.HEIC", content[:kept])
        with pytest.raises(ImageError, match=r"IMG_1\.HEIC is"):
            load_image(path)


def test_avif_of_an_old_pillow_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(file_kinds, "_can_read_avif", lambda: False)
    path = write(tmp_path / "a.avif", encoded("AVIF"))
    with pytest.raises(ImageError, match=r"a\.avif is an AVIF picture.* install Pillow 11\.3"):
        load_image(path)
    assert "install Pillow 11.3" in (fault_of_kind(path) or "")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b"\0\0\0\x0cjP  \r\n\x87\n",
            "is a JPEG 2000 picture, which iseg does not read; save it as",
        ),
        (b"\xff\x4f\xff\x51\0", "is a JPEG 2000 picture"),
        (b"\xff\x0a\0\0", "is a JPEG XL picture"),
        (b"8BPS\0\1", "is a Photoshop picture"),
        (b"II*\0\x10\0\0\0CR\2\0", "is a raw photograph"),
        (b"\0\0\0\x18ftypcrx \0\0", "is a raw photograph"),
        (b"FUJIFILMCCD-RAW ", "is a raw photograph"),
        (b"%!PS-Adobe-3.0 EPSF", "is a drawing"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is a drawing"),
        (b"\0\0\1\0\1\0", "is an icon"),
        (b"%PDF-1.7", "is a PDF document, no picture"),
        (b"\0\0\0\x14ftypqt  ", "is a video, no picture"),
        (b"\0\0\0\x20ftypisom", "is a video, no picture"),
        (b"<!DOCTYPE html><html>", "is no image but a web page; download the image again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "a Git LFS pointer; run `git lfs pull`",
        ),
        (b"", "is no image but an empty file; replace it"),
        (b"just some text", "is no image that can be read; replace it"),
    ],
)
def test_what_is_no_picture_that_is_read_is_called_what_it_is(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = write(tmp_path / "a.jpg", content)
    for function in (load_image, image_size):
        with pytest.raises(ImageError) as raised:
            function(path)
        assert str(raised.value).startswith(f"{path} ")
        assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("name", "noun"),
    [
        ("a.jp2", "a JPEG 2000 picture"),
        ("a.J2K", "a JPEG 2000 picture"),
        ("a.jxl", "a JPEG XL picture"),
        ("a.psd", "a Photoshop picture"),
        ("a.CR2", "a raw photograph"),
        ("a.nef", "a raw photograph"),
        ("a.dng", "a raw photograph"),
        ("a.svg", "a drawing"),
        ("a.eps", "a drawing"),
        ("a.ico", "an icon"),
        ("a.tga", "a picture"),
    ],
)
def test_an_ending_of_a_picture_that_is_not_read_has_a_sentence(tmp_path, name, noun) -> None:
    path = write(tmp_path / name, b"II*\0 whatever is in it")  # many raw photographs are TIFF
    expected = f"{path} is {noun}, which iseg does not read; save it as JPEG or PNG"
    assert fault_of_kind(path) == expected


def test_the_preview_of_a_raw_photograph_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(quarters()).save(path, tiffinfo={254: 1})  # NewSubfileType: reduced
    with pytest.raises(ImageError, match=r"a\.tif begins with a small preview"):
        load_image(path)
    Image.fromarray(quarters()).save(path, tiffinfo={254: 0})
    assert seen(load_image(path)) == "RGBY"


def vp8x(width: int, height: int) -> bytes:
    body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + body


@pytest.mark.parametrize(
    "content",
    [
        vp8x(50_000, 50_000),
        b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\xff\xff\xff\xff",  # 16384 x 16384
        b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f",  # 16383 x 16383
    ],
)
def test_a_webp_of_a_huge_canvas_is_refused_before_pillow_opens_it(
    tmp_path: Path, monkeypatch, content: bytes
) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("Pillow would take memory for the canvas")

    monkeypatch.setattr(Image, "open", opened)
    with pytest.raises(ImageError, match=r"a\.webp has more than 89478485 pixels"):
        load_image(write(tmp_path / "a.webp", content.ljust(64, b"\0")))


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"save_all": True}])
def test_the_size_of_a_webp_is_that_of_its_header(tmp_path: Path, monkeypatch, options) -> None:
    other = {"append_images": [Image.new("RGB", (64, 48))]} if "save_all" in options else {}
    path = write(tmp_path / "a.webp", encoded("WEBP", **options, **other))
    monkeypatch.setenv("ISEG_MAX_PIXELS", str(48 * 64))
    assert load_image(path).shape == (48, 64, 3)
    monkeypatch.setenv("ISEG_MAX_PIXELS", str(48 * 64 - 1))
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(ImageError, match="has more than 3071 pixels"):
        load_image(path)


def test_kinds_of_other_files() -> None:
    assert kind_of(b"") is None
    assert kind_of(b"\0\0\0\x1cftypmif1\0\0\0\0miafavif") == "AVIF"
    assert kind_of(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic") == "HEIC"
    assert kind_of(b"P5\n2 2\n255\n") == "PPM"
    assert kind_of(b"Pictures of a day") is None


def test_what_looks_like_an_image(tmp_path: Path) -> None:
    assert looks_like_image(write(tmp_path / "photo.jpg_large", encoded("JPEG")))
    assert not looks_like_image(write(tmp_path / "notes", b"BM is short for basal metabolism"))
    assert not looks_like_image(write(tmp_path / "a.psd", b"8BPS"))
    assert not looks_like_image(tmp_path / "nowhere")
