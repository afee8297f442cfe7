"""VOC's layout: splits, masks of either kind, annotations, and every fault named."""

from pathlib import Path

import numpy as np
import pytest
from layouts import (
    SIZE,
    VOC_MASKS,
    VOC_SPLITS,
    halves,
    make_voc,
    write_annotation,
    write_image,
    write_mask,
)
from PIL import Image

from iseg_cli.config.resources import embedded_dataset
from iseg_cli.errors import DataError, DatasetNotFoundError
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.readers.voc import EmojiVocReader, VocReader


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_voc(tmp_path)


def names(categories) -> list[str]:
    return [category.name for category in categories]


@pytest.mark.parametrize("split", VOC_SPLITS)
def test_a_split_is_its_list_in_its_order(root: Path, split: str) -> None:
    reader = VocReader(root, split=split)
    assert reader.image_ids == VOC_SPLITS[split]
    assert len(reader) == len(VOC_SPLITS[split])
    assert (reader.name, reader.root, reader.split) == ("voc", root, split)
    assert reader.label_set.name == "voc"
    assert reader.has_ground_truth


def test_a_sample_has_a_path_and_no_truth(root: Path) -> None:
    sample = VocReader(root, split="train").sample("2007_000032")
    assert sample.image_id == "2007_000032"
    assert sample.image_path == root / "JPEGImages" / "2007_000032.jpg"
    assert sample.categories is None


def test_truth_is_the_palettes_indices(root: Path) -> None:
    reader = VocReader(root, split="trainval")
    for image_id, labels in VOC_MASKS.items():
        np.testing.assert_array_equal(reader.ground_truth(image_id).labels, labels)


def test_annotated_are_the_objects_not_their_parts(root: Path) -> None:
    reader = VocReader(root, split="trainval")
    assert names(reader.annotated("2007_000032")) == ["aeroplane", "person"]
    assert names(reader.annotated("2007_000042")) == []


def test_annotated_names_an_object_once_in_the_order_of_ids(root: Path) -> None:
    write_annotation(root / "Annotations" / "2007_000032.xml", ["person", "cat", "person"])
    assert names(VocReader(root, split="train").annotated("2007_000032")) == ["cat", "person"]


AUGMENTED = {"2008_000002": halves(5, 0), "2007_000033": halves(3, 3), "2007_000032": halves(2, 2)}


def test_train_aug_without_a_list_is_every_mask_but_val(tmp_path: Path) -> None:
    reader = VocReader(make_voc(tmp_path, augmented=AUGMENTED), split="train_aug")
    assert reader.image_ids == ("2007_000032", "2008_000002")
    np.testing.assert_array_equal(reader.ground_truth("2008_000002").labels, halves(5, 0))
    # Where both folders have a mask, the augmented split takes the augmented one, train VOC's.
    assert reader.ground_truth("2007_000032").labels[0, 0] == 2
    assert VocReader(reader.root, split="train").ground_truth("2007_000032").labels[0, 0] == 1


@pytest.mark.parametrize("stem", ["train_aug", "trainaug"])
def test_train_aug_with_a_list_is_the_list(tmp_path: Path, stem: str) -> None:
    root = make_voc(tmp_path, augmented=AUGMENTED)
    (root / "ImageSets" / "Segmentation" / f"{stem}.txt").write_text(
        "/JPEGImages/2008_000002.jpg /SegmentationClassAug/2008_000002.png\n"
        "/JPEGImages/2007_000039.jpg /SegmentationClassAug/2007_000039.png\n",
        "utf-8",
    )
    reader = VocReader(root, split="train_aug")
    assert reader.image_ids == ("2008_000002", "2007_000039")
    # No augmented mask of that name: VOC's own.
    np.testing.assert_array_equal(
        reader.ground_truth("2007_000039").labels, VOC_MASKS["2007_000039"]
    )


def test_train_aug_without_masks_or_list_says_what_it_needs(root: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"train_aug\.txt.*SegmentationClassAug.*val\."):
        VocReader(root, split="train_aug")


def test_only_augmented_masks_will_do(tmp_path: Path) -> None:
    root = make_voc(tmp_path, masks={}, augmented=AUGMENTED, splits={"train": ["2008_000002"]})
    reader = VocReader(root, split="train")
    assert reader.has_ground_truth
    np.testing.assert_array_equal(reader.ground_truth("2008_000002").labels, halves(5, 0))


def test_a_split_without_masks_has_no_truth(root: Path) -> None:
    (root / "ImageSets" / "Segmentation" / "test.txt").write_text("2008_000006\n", "utf-8")
    reader = VocReader(root, split="test")
    assert not reader.has_ground_truth
    with pytest.raises(DataError, match=r"no mask .*SegmentationClass.2008_000006\.png"):
        reader.ground_truth("2008_000006")


def test_an_image_may_be_a_png(root: Path) -> None:
    (root / "JPEGImages" / "2007_000032.jpg").unlink()
    path = write_image(root / "JPEGImages" / "2007_000032.png")
    assert VocReader(root, split="train").sample("2007_000032").image_path == path


def test_blank_lines_and_repeated_ids_are_passed_over(root: Path) -> None:
    lists = root / "ImageSets" / "Segmentation"
    (lists / "mine.txt").write_text("2007_000032\r\n\r\n2007_000032\n2007_000039 1\n", "utf-8")
    assert VocReader(root, split="mine").image_ids == ("2007_000032", "2007_000039")


# --- faults --------------------------------------------------------------------------------------


def test_a_root_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=f"{tmp_path}.JPEGImages") as raised:
        VocReader(tmp_path)
    assert "--root" in str(raised.value)


def test_a_root_without_lists_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "JPEGImages" / "a.jpg")
    with pytest.raises(DatasetNotFoundError, match=r"ImageSets.Segmentation"):
        VocReader(tmp_path)


def test_an_unknown_split_is_named_beside_the_known(root: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"split 'tarin' \(did you mean train\?\)") as e:
        VocReader(root, split="tarin")
    assert "train, trainval, val" in str(e.value)


def test_an_empty_split_is_named(root: Path) -> None:
    (root / "ImageSets" / "Segmentation" / "none.txt").write_text("\n", "utf-8")
    with pytest.raises(DatasetNotFoundError, match=r"split none of voc .* has no images"):
        VocReader(root, split="none")


@pytest.mark.parametrize("image_id", ["../../secret", "a/../../b", "..", "c\\d"])
def test_an_id_that_leads_out_of_the_folder_is_refused(root: Path, image_id: str) -> None:
    listing = root / "ImageSets" / "Segmentation" / "bad.txt"
    listing.write_text(f"{image_id}\n2007_000032\n", "utf-8")
    reader = VocReader(root, split="bad")
    assert reader.image_ids == ("2007_000032",)
    assert "no name within the dataset" in reader.refused[image_id]

    listing.write_text(f"{image_id}\n", "utf-8")
    with pytest.raises(DatasetNotFoundError, match="no name within the dataset"):
        VocReader(root, split="bad")


def test_an_unknown_image_is_named(root: Path) -> None:
    reader = VocReader(root, split="train")
    for method in (reader.sample, reader.ground_truth, reader.annotated):
        with pytest.raises(DataError, match="split train of voc has no image '2007_000033'"):
            method("2007_000033")


def test_a_mask_of_another_size_is_named_with_its_image(root: Path) -> None:
    write_mask(root / "SegmentationClass" / "2007_000032.png", halves(1, 2, (8, 6)))
    with pytest.raises(DataError, match=r"000032\.png is 6 wide and 8 high.*000032\.jpg is 8 wide"):
        VocReader(root, split="train").ground_truth("2007_000032")


def test_truth_needs_no_image(root: Path) -> None:
    (root / "JPEGImages" / "2007_000032.jpg").unlink()
    assert VocReader(root, split="train").ground_truth("2007_000032").size == SIZE


def test_a_label_outside_the_table_is_named(root: Path) -> None:
    write_mask(root / "SegmentationClass" / "2007_000032.png", halves(1, 21))
    with pytest.raises(DataError, match=r"000032\.png has label 21, which label set voc lacks"):
        VocReader(root, split="train").ground_truth("2007_000032")


def test_a_mask_of_colours_is_read_by_them(root: Path) -> None:
    labels = halves(8, 255)
    path = root / "SegmentationClass" / "2007_000032.png"
    Image.fromarray(load_label_set("voc").palette[labels]).save(path)
    reader = VocReader(root, split="train")
    np.testing.assert_array_equal(reader.ground_truth("2007_000032").labels, labels)
    assert reader.read_by_color == {path}
    np.testing.assert_array_equal(
        reader.part(["2007_000032"]).ground_truth("2007_000032").labels, labels
    )
    Image.new("RGB", SIZE[::-1], (1, 2, 3)).save(path)
    with pytest.raises(DataError, match=r"000032\.png has 48 pixels of the colour \(1, 2, 3\)"):
        VocReader(root, split="train").ground_truth("2007_000032")


@pytest.mark.parametrize("folder", [".", "SegmentationClass"])
def test_a_labelmap_says_what_the_colours_are(root: Path, folder: str) -> None:
    (root / folder / "labelmap.txt").write_text("background:0,0,0::\ndog:9,9,1::\n")
    rgb = np.zeros((*SIZE, 3), np.uint8)
    rgb[2:4, 1:5] = (9, 9, 1)
    Image.fromarray(rgb).save(root / "SegmentationClass" / "2007_000032.png")
    expected = np.zeros(SIZE, np.uint8)
    expected[2:4, 1:5] = 12
    truth = VocReader(root, split="train").ground_truth("2007_000032")
    np.testing.assert_array_equal(truth.labels, expected)


@pytest.mark.parametrize("content", ["<annotation><object>", ""])
def test_an_unreadable_annotation_is_named(root: Path, content: str) -> None:
    path = root / "Annotations" / "2007_000032.xml"
    path.write_text(content, "utf-8")
    with pytest.raises(DataError, match=r"2007_000032\.xml is no readable annotation"):
        VocReader(root, split="train").annotated("2007_000032")


def test_a_missing_annotation_is_said_as_that(root: Path) -> None:
    path = root / "Annotations" / "2007_000032.xml"
    path.unlink()
    with pytest.raises(DataError, match=f"^there is no annotation {path}$"):
        VocReader(root, split="train").annotated("2007_000032")


def test_an_annotation_of_an_unknown_class_is_named(root: Path) -> None:
    write_annotation(root / "Annotations" / "2007_000032.xml", ["airplane"])
    with pytest.raises(DataError, match=r"000032\.xml: .*'airplane' \(did you mean aeroplane\?\)"):
        VocReader(root, split="train").annotated("2007_000032")


# --- the embedded dataset ------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "val", "style"])
def test_the_embedded_dataset_is_whole(split: str) -> None:
    reader = EmojiVocReader(embedded_dataset(), split=split)
    assert reader.label_set.name == "emoji-voc"
    for image_id in reader.image_ids:
        assert reader.sample(image_id).image_path.is_file()
        labels = np.unique(reader.ground_truth(image_id).labels).tolist()
        assert reader.label_set.select(labels) == reader.annotated(image_id)
