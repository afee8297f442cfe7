"""What lies in a folder of pictures: images, what cannot be one and why, what is passed over."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import make_folder, write_image

from iseg_cli.errors import DatasetNotFoundError
from iseg_cli.readers import file_kinds
from iseg_cli.readers.decoding import load_image
from iseg_cli.readers.folder import FolderReader
from iseg_cli.readers.image_folder import list_images

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.fixture
def no_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_kinds, "_can_read_heic", lambda: False)


def write(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def image(path: Path) -> Path:
    """A JPEG of any name."""
    return write(path, write_image(path.parent / ".scratch.jpg").read_bytes())


def test_pictures_that_cannot_be_read_are_refused_by_name(tmp_path: Path, no_heic: None) -> None:
    image(tmp_path / "a.jpg")
    write(tmp_path / "IMG_1.HEIC", HEIC)
    write(tmp_path / "deep/b.cr2", b"II*\0")
    write(tmp_path / "c.jp2", b"\0\0\0\x0cjP  ")
    listing = list_images(tmp_path)
    assert list(listing.images) == ["a"]
    assert list(listing.refused) == ["IMG_1", "c", "deep/b"]
    assert 'pip install "iseg-cli[heic]"' in listing.refused["IMG_1"]
    assert listing.notes == ()


def test_a_picture_that_cannot_be_read_takes_no_images_place(tmp_path: Path, no_heic) -> None:
    """Cameras write pairs: the JPEG is segmented, the other one reported under its whole name."""
    image(tmp_path / "IMG_1.JPG")
    write(tmp_path / "IMG_1.CR2", b"II*\0")
    write(tmp_path / "IMG_1.HEIC", HEIC)
    listing = list_images(tmp_path)
    assert listing.images == {"IMG_1": tmp_path / "IMG_1.JPG"}
    assert list(listing.refused) == ["IMG_1.CR2", "IMG_1.HEIC"]


def test_two_pictures_that_cannot_be_read_are_both_reported(tmp_path: Path, no_heic) -> None:
    image(tmp_path / "a.jpg")
    write(tmp_path / "b.CR2", b"II*\0")
    write(tmp_path / "b.HEIC", HEIC)
    assert list(list_images(tmp_path).refused) == ["b", "b.HEIC"]


def test_images_of_one_mask_are_refused_and_the_rest_is_done(tmp_path: Path) -> None:
    for name in ("x/a.jpg", "x/a.png", "x/b.jpg", "x/a.v2.jpg"):
        image(tmp_path / name)
    listing = list_images(tmp_path)
    assert list(listing.images) == ["x/a.v2", "x/b"]
    assert list(listing.refused) == ["x/a.jpg", "x/a.png"]
    first, second = tmp_path / "x/a.jpg", tmp_path / "x/a.png"
    sentence = f"{first} and {second} would be written to one mask x/a.png; rename all but one"
    assert all(reason.startswith(sentence) for reason in listing.refused.values())


def test_a_mask_with_the_name_of_a_folder_is_refused(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    image(tmp_path / "a.png/b.jpg")
    listing = list_images(tmp_path)
    assert list(listing.images) == ["a.png/b"]
    assert "but a folder has that name" in listing.refused["a.jpg"]


def test_videos_and_images_without_an_ending_are_noted(tmp_path: Path) -> None:
    for name in ("a.jpg", "photo.jpg_large", "IMG_7", "a.thm"):
        image(tmp_path / name)
    for name in ("IMG_1.MOV", "clip.mp4", "c.avi", "d.mkv"):
        write(tmp_path / name)
    for name in ("Thumbs.db", "notes.txt", "a.xml", "labels.json", "README", ".DS_Store"):
        write(tmp_path / name, b"something else")
    listing = list_images(tmp_path)
    assert (list(listing.images), listing.refused) == (["a"], {})
    assert listing.notes == (
        "4 videos, which iseg does not read, were passed over "
        "(IMG_1.MOV, c.avi, clip.mp4 and 1 more)",
        "2 files without an image's ending were passed over, though the content is an image: "
        "rename such files to read them (IMG_7, photo.jpg_large)",
    )


def test_names_of_one_form_on_other_systems_are_noted(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", "café")
    decomposed = unicodedata.normalize("NFD", "café")
    names = ["a.jpg", "A.jpg", "b.jpg", f"{composed}.jpg", f"{decomposed}.jpg"]
    for name in names:
        image(tmp_path / name)
    listing = list_images(tmp_path)
    assert set(listing.images) == {name.removesuffix(".jpg") for name in names}
    (note,) = listing.notes
    assert f"(A = a, {decomposed} = {composed})" in note


# --- names that few expect -----------------------------------------------------------------------

ODD = [
    b"caf\xe9.jpg",  # Latin-1, as old archives unpack it
    b"two\nlines.jpg",
    b"\x1b[31mred.jpg",
    b"-rf.jpg",
    b"--out.jpg",
    b"a b  c.jpg",
    b"%20%00.jpg",
    b"n" * 251 + b".jpg",
    "\u202egnp.jpg".encode(),
    "\u2028.jpg".encode(),
    b"a.jpg.jpg",
    b"con.jpg",
    b"'\"$(x)`.jpg",
]


@pytest.mark.parametrize("name", ODD)
def test_any_name_that_the_system_has_is_an_image(tmp_path: Path, name: bytes) -> None:
    image(tmp_path / os.fsdecode(name))
    reader = FolderReader(tmp_path)
    (image_id,) = reader.image_ids
    assert os.fsencode(image_id) == name[:-4]
    assert load_image(reader.sample(image_id).image_path).shape == (6, 8, 3)


def test_a_backslash_is_refused_and_the_rest_is_done(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    image(tmp_path / "sub\\b.jpg")
    reader = FolderReader(tmp_path)
    assert reader.image_ids == ("a",)
    assert "is no name within the dataset; rename it" in reader.refused["sub\\b"]


@given(st.sets(st.binary(min_size=1, max_size=12), max_size=6))
@settings(max_examples=60, deadline=None)
def test_every_image_is_listed_or_reported(tmp_path_factory, names: set[bytes]) -> None:
    root = tmp_path_factory.mktemp("names")
    stems = {n for n in names if not {b"/"[0], 0} & set(n) and not n.startswith(b".")}
    for stem in stems:
        image(root / (os.fsdecode(stem) + ".jpg"))
    image(root / "there.jpg")
    reader = FolderReader(root)
    found = {os.fsencode(i) for i in (*reader.image_ids, *reader.refused)}
    assert found == stems | {b"there"}
    assert {os.fsencode(i) for i in reader.refused} == {s for s in stems if b"\\" in s}


# --- links and rights ----------------------------------------------------------------------------


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = make_folder(tmp_path, ["a.jpg", "sub/b.jpg"])
    image(tmp_path / "elsewhere/c.jpg")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "sub" / "up").symlink_to(root)
    listing = list_images(root)
    assert list(listing.images) == ["a", "linked/c", "sub/b"]
    assert listing.refused == {}
    (note,) = listing.notes
    assert note == f"the link {root}/sub/up leads back to a folder above it; it was skipped"


def test_links_to_nothing_and_to_themselves_are_images_that_fail(tmp_path: Path) -> None:
    root = make_folder(tmp_path, ["a.jpg"])
    (root / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (root / "circle.jpg").symlink_to(root / "circle.jpg")
    (root / "circle").symlink_to(root / "circle")
    os.mkfifo(root / "pipe.jpg")
    os.mkfifo(root / "pipe.heic")
    os.mkfifo(root / "pipe")
    reader = FolderReader(root)
    assert reader.image_ids[:3] == ("a", "circle", "gone")
    sentences = {"gone": r"gone\.jpg is a link to a file that is not there", "circle": "cannot be"}
    for image_id, sentence in sentences.items():
        with pytest.raises(Exception, match=sentence):
            load_image(reader.sample(image_id).image_path)


def test_a_folder_that_may_not_be_read_is_reported(tmp_path: Path, monkeypatch) -> None:
    root = make_folder(tmp_path, ["a.jpg", "locked/b.jpg", "open/c.jpg"])
    scandir = os.scandir

    def refuse(path: Path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # tests may run as root, who may read all
    reader = FolderReader(root)
    assert reader.image_ids == ("a", "open/c")
    sentence = f"the folder {root / 'locked'} cannot be read (Permission denied); change its"
    assert reader.refused["locked/"].startswith(sentence)


def test_the_truth_is_left_out_by_whatever_name(tmp_path: Path) -> None:
    root = make_folder(tmp_path, ["a.jpg"])
    masks = tmp_path / "masks"
    image(masks / "b.jpg")
    (root / "truth").symlink_to(masks)
    (root / "c.jpg").symlink_to(masks / "b.jpg")
    assert list(list_images(root, leaving_out=masks).images) == ["a"]


# --- folders without images ----------------------------------------------------------------------


def test_a_folder_of_heic_alone_names_them(tmp_path: Path, no_heic: None) -> None:
    for number in range(6):
        write(tmp_path / f"IMG_{number}.HEIC", HEIC)
    with pytest.raises(DatasetNotFoundError) as raised:
        FolderReader(tmp_path)
    assert str(raised.value) == (
        f"split all of folder in {tmp_path} has no images: {tmp_path}/IMG_0.HEIC is a HEIC "
        'picture, which needs a plug-in; pip install "iseg-cli[heic]" to read it; '
        "5 more cannot be used: IMG_1, IMG_2, IMG_3 and 2 more"
    )


def test_a_folder_of_videos_alone_says_so(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4")
    with pytest.raises(DatasetNotFoundError, match=r"has no images: a video, .* passed over \(a\."):
        FolderReader(tmp_path)
