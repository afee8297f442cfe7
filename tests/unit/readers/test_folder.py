"""A folder of images: any kind, any depth, categories by name, one mask name per image."""

from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from layouts import halves, make_folder, write_image, write_mask

from iseg_cli.errors import DataError, DatasetNotFoundError, SettingsError
from iseg_cli.label_images.palette import voc_color
from iseg_cli.readers.folder import FolderReader
from iseg_cli.readers.label_tables import load_label_set

KINDS = ("a.jpg", "b.JPEG", "c.png", "d.webp", "e.bmp", "f.tif", "deep/er/g.tiff")


def test_every_kind_of_image_at_any_depth(tmp_path: Path) -> None:
    reader = FolderReader(make_folder(tmp_path, KINDS))
    assert reader.image_ids == ("a", "b", "c", "d", "deep/er/g", "e", "f")
    assert all(reader.sample(image_id).image_path.is_file() for image_id in reader.image_ids)
    assert (reader.name, reader.split, len(reader)) == ("folder", "all", 7)


def test_what_is_no_image_or_hidden_is_passed_over(tmp_path: Path) -> None:
    root = make_folder(tmp_path, ["a.jpg", "._b.jpg", ".cache/c.jpg"])
    (root / "notes.txt").write_text("no image", "utf-8")
    (root / "folder.png").mkdir()
    assert FolderReader(root).image_ids == ("a",)


def test_names_with_dots_and_blanks_are_kept(tmp_path: Path) -> None:
    root = make_folder(tmp_path, ["my photo.v2.jpg", "my photo.v3.jpg"])
    assert FolderReader(root).image_ids == ("my photo.v2", "my photo.v3")


def test_categories_are_numbered_in_the_order_given(tmp_path: Path) -> None:
    reader = FolderReader(make_folder(tmp_path), categories=("red  panda", "bamboo"))
    panda, bamboo = reader.label_set.categories
    assert (panda.id, panda.name, panda.prompt) == (1, "red panda", "red panda")
    assert (bamboo.id, bamboo.name) == (2, "bamboo")
    assert (panda.color, bamboo.color) == (voc_color(1), voc_color(2))
    assert reader.label_set.background == 0
    assert reader.label_set.background_words == ()


def test_no_categories_are_needed(tmp_path: Path) -> None:
    assert FolderReader(make_folder(tmp_path)).label_set.categories == ()


def test_a_table_may_take_the_place_of_categories(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    assert FolderReader(root, label_set="voc").label_set == load_label_set("voc")
    with pytest.raises(SettingsError, match="categories or a label set, not both"):
        FolderReader(root, label_set="voc", categories=["cat"])
    with pytest.raises(SettingsError, match=r"no label set 'vco' \(did you mean voc\?\)"):
        FolderReader(root, label_set="vco")


def test_a_folder_of_masks_is_the_truth(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    write_mask(tmp_path / "masks" / "a.png", halves(0, 1))
    write_mask(tmp_path / "masks" / "deep" / "b.png", halves(1, 255))
    reader = FolderReader(root, categories=["cat"], ground_truth=tmp_path / "masks")
    assert reader.has_ground_truth
    np.testing.assert_array_equal(reader.ground_truth("a").labels, halves(0, 1))
    np.testing.assert_array_equal(reader.ground_truth("deep/b").labels, halves(1, 255))


def test_masks_within_the_folder_are_no_images(tmp_path: Path) -> None:
    root = make_folder(tmp_path, ["a.jpg"])
    write_mask(root / "masks" / "a.png", halves(0, 1))
    reader = FolderReader(root, categories=["cat"], ground_truth=root / "masks")
    assert reader.image_ids == ("a",)


# --- faults --------------------------------------------------------------------------------------


def test_two_images_of_one_mask_are_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path, ["x/a.jpg", "x/a.png"])
    sentence = r"x.a\.jpg and .*x.a\.png would be written to one mask x/a\.png"
    with pytest.raises(DatasetNotFoundError, match=f"has no images: .*{sentence}"):
        FolderReader(root)
    write_image(root / "b.jpg")
    reader = FolderReader(root)
    assert reader.image_ids == ("b",)
    assert list(reader.refused) == ["x/a.jpg", "x/a.png"]


def test_truth_is_found_by_a_name_in_the_other_unicode_form(tmp_path: Path) -> None:
    composed, decomposed = (normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    root = make_folder(tmp_path, [f"{decomposed}.jpg"])
    write_mask(tmp_path / "masks" / f"{composed}.png", halves(0, 1))
    reader = FolderReader(root, categories=["cat"], ground_truth=tmp_path / "masks")
    np.testing.assert_array_equal(reader.ground_truth(decomposed).labels, halves(0, 1))


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=f"no folder {tmp_path}.nowhere with images"):
        FolderReader(tmp_path / "nowhere")
    with pytest.raises(DatasetNotFoundError, match=f"folder in {tmp_path} has no images"):
        FolderReader(tmp_path)


def test_a_missing_folder_of_masks_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"no folder .*nowhere with the masks"):
        FolderReader(make_folder(tmp_path), ground_truth=tmp_path / "nowhere")


def test_truth_without_masks_is_an_error(tmp_path: Path) -> None:
    reader = FolderReader(make_folder(tmp_path))
    assert not reader.has_ground_truth
    with pytest.raises(DataError, match="has no ground truth; pass --truth FOLDER"):
        reader.ground_truth("a")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["cat", " "], "a category needs a name"),
        (
            ["background"],
            "'background' is no category; leave it out",
        ),
        (["cat", "__Background__"], "'__Background__' is no category"),
        (["_background_"], "'_background_' is no category"),
        (["cat", "dog", "cat"], "the category 'cat' was named twice"),
        (["Dog", "dog"], "the category 'dog' was named twice, also as 'Dog'"),
        (["caf\u00e9", "cafe\u0301"], "the category 'caf\u00e9' was named twice"),
        ([str(n) for n in range(255)], "255 categories, but a mask has labels for 254"),
    ],
)
def test_categories_that_cannot_be_are_named(tmp_path: Path, names, sentence: str) -> None:
    root = make_folder(tmp_path)
    with pytest.raises((SettingsError, DataError), match=sentence):
        FolderReader(root, categories=names)


def test_there_is_one_split(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="folder has no split 'train'; it has all"):
        FolderReader(make_folder(tmp_path), split="train")


def test_a_link_to_an_image_is_an_image(tmp_path: Path) -> None:
    real = write_image(tmp_path / "elsewhere.png")
    root = make_folder(tmp_path, ["a.jpg"])
    (root / "b.png").symlink_to(real)
    assert FolderReader(root).image_ids == ("a", "b")
