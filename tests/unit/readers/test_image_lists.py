"""Lists of images as VOC, SBD, CVAT and people write them; files found whatever their ending."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import VOC_SPLITS, make_voc, write_image

from iseg_cli.errors import DataError, DatasetNotFoundError
from iseg_cli.readers.context import ContextReader
from iseg_cli.readers.file_kinds import IMAGE_SUFFIXES
from iseg_cli.readers.files_by_stem import FilesByStem
from iseg_cli.readers.image_lists import read_ids
from iseg_cli.readers.voc import VocReader

FILES = ("a.jpg", "b.JPG", "my cat 1.jpg", "\u043a\u043e\u0442 2.png", "#5.jpg", "deep/c.JPEG")


@pytest.fixture
def images(tmp_path: Path) -> FilesByStem:
    folder = tmp_path / "JPEGImages"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return FilesByStem(folder, IMAGE_SUFFIXES)


def listed(images: FilesByStem, text: str | bytes) -> list[str]:
    path = images.folder.parent / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_ids(path, images)


@pytest.mark.parametrize(
    ("line", "image_id"),
    [
        ("a", "a"),
        ("a.jpg", "a"),
        ("a.JPG", "a"),
        ("b.jpg", "b"),
        ("b.JPG", "b"),
        ('"a"', "a"),
        ("'a.jpg'", "a"),
        ("my cat 1", "my cat 1"),
        ("my cat 1.jpg", "my cat 1"),
        ('"my cat 1"', "my cat 1"),
        ('"my cat 1" 1', "my cat 1"),
        ("my cat 1 0", "my cat 1"),
        ("a  1", "a"),
        ("a 0", "a"),
        ("deep/c", "deep/c"),
        ("deep\\c.jpeg", "deep/c"),
        ("./a.jpg", "a"),
        ("JPEGImages/a.jpg", "a"),
        ("/data/VOC2012/JPEGImages/deep/c.JPEG", "deep/c"),
        ("/JPEGImages/a.jpg /SegmentationClassAug/a.png", "a"),
        ("JPEGImages/b.jpg SegmentationClassAug/b.png", "b"),
        ("/JPEGImages/my cat 1.jpg /SegmentationClassAug/my cat 1.png", "my cat 1"),
        ("a.jpg a.png", "a"),
        ("#5", "#5"),
        ("\u043a\u043e\u0442 2", "\u043a\u043e\u0442 2"),
        # of no image: read so that the sentence about it names what is missing
        ("gone", "gone"),
        ("gone.jpg", "gone"),
        ('"gone 1"', "gone 1"),
        ("gone too", "gone too"),
        ("gone 1", "gone"),
        ("/JPEGImages/gone.jpg /SegmentationClassAug/gone.png", "gone"),
    ],
)
def test_a_line_names_an_image(images: FilesByStem, line: str, image_id: str) -> None:
    assert listed(images, f"{line}\n") == [image_id]


def test_what_is_passed_over(images: FilesByStem) -> None:
    text = "\ufeff# my images\r\n\r\na -1\r\nb  1\r\nmy cat 1 -1\r\ngone -1\r\n  deep/c  \r\n"
    assert listed(images, text) == ["b", "deep/c"]


def test_a_list_that_is_no_text_is_named(images: FilesByStem) -> None:
    with pytest.raises(DataError, match=r"list\.txt is no readable list of images: it is UTF-16"):
        listed(images, "a\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"there is no list of images .*nowhere\.txt"):
        read_ids(images.folder / "nowhere.txt", images)


def test_lists_without_files_to_compare_with(images: FilesByStem) -> None:
    path = images.folder / "list.txt"
    path.write_text("000000000139\n000000000285.jpg\n# no more\n000000000632 \n", "utf-8")
    assert read_ids(path) == ["000000000139", "000000000285", "000000000632"]


name_texts = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0\r\n"), min_size=1)


@given(name_texts.map(lambda text: " ".join(text[:40].split())).filter(lambda text: text[:1] > "/"))
def test_the_name_of_every_file_is_its_line(tmp_path_factory, name: str) -> None:
    folder = tmp_path_factory.mktemp("images")
    (folder / f"{name}.jpg").touch()
    images = FilesByStem(folder, IMAGE_SUFFIXES)
    for line in (name, f"{name}.jpg", f"{name} 1"):
        assert images.find(listed(images, f"{line}\n")[0]) == folder / f"{name}.jpg"


# --- files by their stems ------------------------------------------------------------------------


def test_of_several_files_the_usual_ending_comes_first(tmp_path: Path) -> None:
    for name in ("a.PNG", "a.JPG", "a.jpg", "b.png", "b.JPEG", "notes.txt"):
        (tmp_path / name).touch()
    stems = FilesByStem(tmp_path, (".jpg", ".jpeg", ".png"))
    assert stems.find("a") == tmp_path / "a.jpg"
    assert stems.find("a.JPG") == tmp_path / "a.JPG"
    assert stems.find("b") == tmp_path / "b.JPEG"
    assert stems.stems() == ["a", "b"]
    for name in ("notes", "c", "", ".", "../a", "deep/a", "/a", "x" * 5000, "x" * 5000 + "/a"):
        assert stems.find(name) is None, name


def test_forms_of_unicode_meet_in_names_of_files(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    (tmp_path / f"{apart}.jpg").touch()
    assert FilesByStem(tmp_path, (".jpg",)).find(composed) == tmp_path / f"{apart}.jpg"
    (tmp_path / f"{composed}.jpg").touch()
    assert FilesByStem(tmp_path, (".jpg",)).find(composed) == tmp_path / f"{composed}.jpg"
    assert FilesByStem(tmp_path, (".jpg",)).find(apart) == tmp_path / f"{apart}.jpg"


# --- in the readers ------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".JPG", ".jpeg", ".JPEG", ".PNG", ".bmp", ".webp", ".Jpg"])
def test_images_and_masks_have_endings_of_any_kind(tmp_path: Path, ending: str) -> None:
    root = make_voc(tmp_path)
    (root / "JPEGImages" / "2007_000032.jpg").unlink()
    image = root / "JPEGImages" / f"2007_000032{ending}"
    write_image(image.with_suffix(ending.lower())).rename(image)
    mask = root / "SegmentationClass" / "2007_000032.png"
    mask.rename(mask.with_suffix(".PNG"))
    reader = VocReader(root, split="train")
    assert reader.sample("2007_000032").image_path == image
    assert reader.ground_truth("2007_000032").labels[0, 0] == 1
    assert reader.part(["2007_000032"]).sample("2007_000032").image_path == image
    assert reader.part(["2007_000032"]).ground_truth("2007_000032").labels[0, 0] == 1


def test_a_part_knows_the_files_of_its_images_alone(tmp_path: Path) -> None:
    part = VocReader(make_voc(tmp_path), split="trainval").part(["2007_000032"])
    assert list(part._files) == list(part._masks) == ["2007_000032"]


def test_a_listed_image_that_is_missing_is_that_images_fault(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    listing = root / "ImageSets" / "Segmentation" / "train.txt"
    listing.write_text("2007_000032\ngone\n", "utf-8")
    reader = VocReader(root, split="train")
    assert reader.image_ids == ("2007_000032", "gone")
    assert reader.sample("2007_000032").image_path.is_file()
    with pytest.raises(DataError) as raised:
        reader.sample("gone")
    folder = root / "JPEGImages"
    assert (
        str(raised.value)
        == f"{listing} lists gone, but {folder} has no such image; add it, or remove the line"
    )


def test_a_name_too_long_for_a_mask_is_refused(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    long = "x" * 300
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text(f"2007_000032\n{long}\n")
    reader = VocReader(root, split="train")
    assert reader.image_ids == ("2007_000032",)
    assert "whose name is too long" in reader.refused[long]


def test_lists_of_classes_alone_are_said(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    (root / "ImageSets" / "Segmentation").rename(root / "ImageSets" / "Main")
    with pytest.raises(DatasetNotFoundError) as raised:
        VocReader(root)
    assert "no folder" in str(raised.value)
    assert f"only {root / 'ImageSets' / 'Main'}; copy a list of images" in str(raised.value)
    assert f"--dataset folder --root {root / 'JPEGImages'}" in str(raised.value)


def test_a_list_of_one_class_is_a_split(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    lines = "2007_000032 -1\n2007_000033  1\n2007_000039  0\n"
    (root / "ImageSets" / "Segmentation" / "dog_trainval.txt").write_text(lines, "utf-8")
    reader = VocReader(root, split="dog_trainval")
    assert reader.image_ids == ("2007_000033", "2007_000039")


def test_masks_of_train_aug_in_capitals_make_the_split(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    (root / "SegmentationClassAug").mkdir()
    for image_id in (*VOC_SPLITS["train"], *VOC_SPLITS["val"]):
        (root / "SegmentationClassAug" / f"{image_id}.PNG").touch()
    assert VocReader(root, split="train_aug").image_ids == VOC_SPLITS["train"]


def test_context_reads_lists_and_files_alike(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    lists = root / "ImageSets" / "SegmentationContext"
    lists.mkdir()
    (lists / "val.txt").write_text('\ufeff"2007_000032.jpg"\ngone\n', "utf-8")
    image = root / "JPEGImages" / "2007_000032.jpg"
    image.rename(image.with_suffix(".JPG"))
    masks = root / "SegmentationClassContext"
    masks.mkdir()
    (root / "SegmentationClass" / "2007_000032.png").rename(masks / "2007_000032.PNG")
    reader = ContextReader(root)
    assert reader.image_ids == ("2007_000032", "gone")
    assert reader.sample("2007_000032").image_path == image.with_suffix(".JPG")
    part = reader.part(["2007_000032"])
    assert part.ground_truth("2007_000032").labels[0].tolist() == [1] * 4 + [15] * 4
    with pytest.raises(DataError, match=r"val\.txt lists gone, but .*JPEGImages has no such image"):
        reader.sample("gone")


@pytest.mark.parametrize("written", ["d.jpg", "d.jpg.jpg", "JPEGImages/d.jpg.jpg"])
def test_a_name_with_two_endings_is_an_image_of_its_own(images: FilesByStem, written: str) -> None:
    (images.folder / "d.jpg.jpg").touch()
    (image_id,) = listed(images, written)
    assert image_id == "d.jpg"
    assert images.find(image_id) == images.folder / "d.jpg.jpg"


def test_two_files_of_one_image_are_told_by_the_reader(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    assert VocReader(root, split="train").notes == ()
    image_id = VOC_SPLITS["train"][0]
    write_image(root / "JPEGImages" / f"{image_id}.png")
    reader = VocReader(root, split="train")
    assert reader.image_path(image_id).name == f"{image_id}.jpg"
    assert reader.notes == (
        f"1 image has several files in {root / 'JPEGImages'}; one of each is read "
        f"(first: {image_id}.jpg, not {image_id}.png)",
    )
