"""`iseg generate` on folders as people have them: turned photos, odd names, files that fail."""

import json
import os
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from pycocotools.coco import COCO

from iseg_cli.cli import main
from iseg_cli.errors import DataError
from iseg_cli.readers.folder import FolderReader
from iseg_cli.storage.journal import read_journal


def iseg(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def generate(root: Path, out: Path, *options: object) -> Result:
    """Masks of a cat and a dog, by the embedded model."""
    categories = () if "--labels" in options else ("--categories", "cat, dog")
    return iseg(
        "generate", "--dataset", "folder", "--root", root, "--out", out, "--config", "emoji-voc",
        "--model", "tiny", *categories, *options,
    )  # fmt: skip


def photo(path: Path, orientation: int | None = None, seed: int = 0) -> Path:
    """A JPEG, 64 wide and 48 high as it is stored."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((64, 48)).save(path, "JPEG", exif=exif)
    return path


def lines(out: Path) -> dict[str, dict[str, object]]:
    records = [json.loads(line) for line in (out / "images.jsonl").read_bytes().splitlines()]
    return {record["image_id"]: record for record in records}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "photos"


# --- EXIF ----------------------------------------------------------------------------------------


def test_turned_images_are_recorded_and_counted(root: Path, tmp_path: Path) -> None:
    for name, orientation in (("a", 6), ("b", None), ("c", 1), ("d", 2)):
        photo(root / f"{name}.jpg", orientation)
    out = tmp_path / "run"
    first = generate(root, out)
    assert first.exit_code == 0, first.output
    assert {i: record.get("exif_orientation") for i, record in lines(out).items()} == {
        "a": 6, "b": None, "c": None, "d": 2
    }  # fmt: skip
    assert all(("exif_orientation" in record) == (i in "ad") for i, record in lines(out).items())
    assert lines(out)["a"]["size"] == [64, 48]
    with Image.open(out / "a.png") as mask:
        assert mask.size == (48, 64)
    note = (
        "note: 2 images are stored turned or mirrored; their masks are upright, as EXIF says: "
        "readers that ignore EXIF (Pillow, torchvision) have to turn such images "
        "(exif_orientation in images.jsonl)\n"
    )
    assert note in first.output
    before = (out / "images.jsonl").read_bytes()
    again = generate(root, out)
    assert "4 were there already" in again.output
    assert note in again.output
    assert (out / "images.jsonl").read_bytes() == before


def test_one_turned_image_is_counted_as_one_and_none_is_not_told(root, tmp_path) -> None:
    photo(root / "a.jpg", 1)
    assert "EXIF" not in generate(root, tmp_path / "none").output
    photo(root / "b.jpg", 8)
    said = generate(root, tmp_path / "one").output
    assert "note: 1 image is stored turned or mirrored; its mask is upright" in said


# --- names ---------------------------------------------------------------------------------------


def test_odd_names_are_done_or_reported_and_the_rest_is_done(root: Path, tmp_path: Path) -> None:
    latin, newline = os.fsdecode(b"caf\xe9"), "two\nlines\x1b[31m"
    for name in ("a", latin, newline, "sub\\b", "-rf", "n" * 251):
        photo(root / f"{name}.jpg")
    out = tmp_path / "run"
    result = generate(root, out)
    assert result.exit_code == 1
    (failed,) = [line for line in result.output.splitlines() if line.startswith("failed: ")]
    assert failed.startswith("failed: sub\\b: ")
    assert result.output.endswith("1 of 6 images failed.\n")
    done = {i for i, record in lines(out).items() if record["status"] == "done"}
    assert done == {"a", latin, newline, "-rf", "n" * 251}
    assert all((out / f"{image_id}.png").is_file() for image_id in done)
    assert set(read_journal(out / "images.jsonl")) == {*done, "sub\\b"}
    assert "5 were there already" in generate(root, out).output


def test_failures_are_printed_in_one_line_each(root: Path, tmp_path: Path) -> None:
    photo(root / "a.jpg")
    for name in ("two\nlines\x1b[31m.jpg", os.fsdecode(b"caf\xe9.jpg")):
        (root / name).write_text("no image")
    result = generate(root, tmp_path / "run")
    failed = [line for line in result.output.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2
    assert any(line.startswith("failed: two\\nlines\\x1b[31m: ") for line in failed)
    assert any(line.startswith("failed: caf\\udce9: ") for line in failed)
    assert result.output.isprintable() or "\x1b" not in result.output


def test_a_name_too_long_for_the_folder_of_masks_is_reported(root: Path, tmp_path: Path) -> None:
    deep = "/".join(["d" * 250] * 11)
    photo(root / deep / "far.jpg")
    photo(root / "near.jpg")
    out = tmp_path.joinpath(*["o" * 250] * 5)
    result = generate(root, out)
    assert result.exit_code == 1
    assert lines(out)["near"]["status"] == "done"
    assert "File name too long; rename the image" in str(lines(out)[f"{deep}/far"]["error"])
    assert "1 of 2 images failed" in result.output


def test_a_failure_is_forgotten_once_the_file_has_another_name(root, tmp_path) -> None:
    photo(root / "a.jpg")
    photo(root / "sub\\b.jpg")
    out = tmp_path / "run"
    assert generate(root, out).exit_code == 1
    assert set(lines(out)) == {"a", "sub\\b"}
    (root / "sub\\b.jpg").rename(root / "b.jpg")
    assert generate(root, out).exit_code == 0
    assert set(lines(out)) == {"a", "b"}


def test_names_in_two_unicode_forms_have_a_mask_each(root: Path, tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    for name in names:
        photo(root / f"{name}.jpg")
    out = tmp_path / "run"
    result = generate(root, out)
    assert set(lines(out)) == set(names)
    assert "on Windows and macOS their masks would replace each other" in result.output


# --- one image's fault ---------------------------------------------------------------------------


def test_what_is_raised_for_one_image_is_its_failure(root, tmp_path, monkeypatch) -> None:
    for name in "abcd":
        photo(root / f"{name}.jpg")
    faults = {
        "b": DataError("its record is odd"),
        "c": PermissionError(13, "Permission denied", "c.xml"),
        "d": MemoryError(),
    }
    image_path = FolderReader.image_path

    def odd(reader: FolderReader, image_id: str) -> Path:
        if image_id in faults:
            raise faults[image_id]
        return image_path(reader, image_id)

    monkeypatch.setattr(FolderReader, "image_path", odd)
    out = tmp_path / "run"
    result = generate(root, out)
    assert result.exit_code == 1
    assert {i: record["error"] for i, record in lines(out).items()} == {
        "a": None,
        "b": "its record is odd",
        "c": "c.xml cannot be read (Permission denied)",
        "d": "the image does not fit into memory; scale it down",
    }
    assert "3 of 4 images failed." in result.output


def test_a_wrong_limit_of_pixels_is_said_at_once(root, tmp_path, monkeypatch) -> None:
    photo(root / "a.jpg")
    monkeypatch.setenv("ISEG_MAX_PIXELS", "many")
    result = generate(root, tmp_path / "run")
    assert result.exit_code == 2
    assert result.output == (
        "Error: ISEG_MAX_PIXELS is 'many'; set it to a number of pixels, such as 200000000\n"
    )


# --- the end of a run ----------------------------------------------------------------------------


def test_an_empty_rle_is_said(root: Path, tmp_path: Path) -> None:
    photo(root / "a.jpg")
    photo(root / "b.jpg", seed=1)
    labels = tmp_path / "labels.json"
    out, rle = tmp_path / "run", tmp_path / "rle.json"
    labels.write_text('{"a": [], "b": []}')
    options = ("--labels", f"file:{labels}", "--label-set", "voc", "--rle", rle)
    result = generate(root, out, *options)
    assert result.exit_code == 0, result.output
    assert json.loads(rle.read_text()) == []
    note = (
        f"note: {rle} has no segments: none of the 2 masks has a category; COCO.loadRes refuses an "
        "empty list\n"
    )
    assert note in result.output
    truth = COCO()
    truth.dataset = {"images": [], "annotations": []}
    with pytest.raises(IndexError):  # the claim of the note
        truth.loadRes(str(rle))
    assert "no segments" not in generate(root, tmp_path / "other", "--rle", rle).output


def test_pillows_warnings_are_not_printed_and_others_are(root: Path, tmp_path: Path) -> None:
    photo(root / "a.jpg")
    Image.new("1", (10_000, 9_000)).save(root / "large.png")
    palette = Image.fromarray(np.zeros((48, 64), dtype=np.uint8))
    palette.putpalette([9, 8, 7, 60, 50, 40])
    palette.save(root / "palette.png", transparency=bytes([0, 255]))
    cut_short = b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01"  # five entries are announced
    Image.new("RGB", (64, 48)).save(root / "odd.jpg", exif=cut_short)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path in root.iterdir():
            with Image.open(path) as image:
                image.getexif()
    assert {str(w.category.__name__) for w in caught} == {"DecompressionBombWarning", "UserWarning"}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = generate(root, tmp_path / "run")
        warnings.warn("of another library", stacklevel=1)
    assert "Warning" not in result.output
    assert "of another library" in {str(w.message) for w in caught}
    assert [w for w in caught if "PIL" in w.filename] == []
    assert lines(tmp_path / "run")["large"]["status"] == "failed"
