"""Cityscapes' layout: cities, label ids to train ids or 27 classes, and every fault named."""

from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import id2label
from layouts import SIZE, halves, make_cityscapes, write_image, write_mask
from PIL import Image

from iseg_cli.errors import DataError, DatasetNotFoundError, SettingsError
from iseg_cli.readers.cityscapes import CityscapesReader

FRANKFURT = "frankfurt/frankfurt_000000_000294"
MUNSTER = "munster/munster_000000_000019"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_cityscapes(tmp_path)


def test_ids_are_city_and_frame_sorted(root: Path) -> None:
    reader = CityscapesReader(root, split="val")
    assert reader.image_ids == (FRANKFURT, MUNSTER)
    path = reader.sample(FRANKFURT).image_path
    assert path == root / "leftImg8bit" / "val" / f"{FRANKFURT}_leftImg8bit.png"
    assert path.is_file()
    assert (reader.name, reader.split, len(reader)) == ("cityscapes", "val", 2)


def test_truth_is_train_ids(root: Path) -> None:
    reader = CityscapesReader(root, split="val")
    np.testing.assert_array_equal(reader.ground_truth(FRANKFURT).labels, halves(0, 13))  # road, car
    np.testing.assert_array_equal(reader.ground_truth(MUNSTER).labels, halves(255, 255))


def test_truth_is_27_classes_when_asked_for(root: Path) -> None:
    reader = CityscapesReader(root, split="val", label_set="cityscapes-27")
    np.testing.assert_array_equal(reader.ground_truth(FRANKFURT).labels, halves(0, 19))
    np.testing.assert_array_equal(reader.ground_truth(MUNSTER).labels, halves(255, 11))


@pytest.mark.parametrize("label_set", ["cityscapes", "cityscapes-27"])
def test_every_label_id_goes_where_cityscapes_sends_it(root: Path, label_set: str) -> None:
    every = np.tile(np.array([*range(34), 255], dtype=np.uint8), (2, 1))
    path = root / "gtFine" / "val" / f"{FRANKFURT}_gtFine_labelIds.png"
    write_mask(path, every, palette=None)
    write_image(root / "leftImg8bit" / "val" / f"{FRANKFURT}_leftImg8bit.png", size=every.shape)
    reader = CityscapesReader(root, split="val", label_set=label_set)
    labels = reader.ground_truth(FRANKFURT).labels[0].tolist()
    if label_set == "cityscapes":
        assert labels == [id2label[i].trainId for i in range(34)] + [255]
    else:
        assert labels == [255] * 7 + list(range(27)) + [255]


@pytest.mark.parametrize(
    ("split", "has_ground_truth"),
    [("train", True), ("val", True), ("test", False), ("train_extra", True)],
)
def test_which_splits_have_truth(root: Path, split: str, has_ground_truth: bool) -> None:
    assert CityscapesReader(root, split=split).has_ground_truth is has_ground_truth


def test_the_extra_split_has_coarse_truth(root: Path) -> None:
    reader = CityscapesReader(root, split="train_extra")
    np.testing.assert_array_equal(reader.ground_truth(reader.image_ids[0]).labels, halves(0, 255))


def test_the_test_split_has_no_truth(root: Path) -> None:
    reader = CityscapesReader(root, split="test")
    with pytest.raises(DataError, match="ground truth of Cityscapes' test split is not public"):
        reader.ground_truth(reader.image_ids[0])


def only_train_ids(root: Path) -> None:
    """Datumaro and CVAT export Cityscapes so."""
    for path in [*root.rglob("*_labelIds.png")]:
        ids = np.array(Image.open(path))
        train_ids = np.array([id2label[i].trainId for i in range(34)] + [255] * 222, np.uint8)
        write_mask(
            path.with_name(path.name.replace("labelIds", "labelTrainIds")),
            train_ids[ids],
            palette=None,
        )
        path.unlink()


def test_train_ids_alone_are_truth_of_the_19_classes(root: Path) -> None:
    only_train_ids(root)
    reader = CityscapesReader(root, split="val")
    np.testing.assert_array_equal(reader.ground_truth(FRANKFURT).labels, halves(0, 13))
    np.testing.assert_array_equal(reader.ground_truth(MUNSTER).labels, halves(255, 255))
    coarse = CityscapesReader(root, split="train_extra")
    np.testing.assert_array_equal(coarse.ground_truth(coarse.image_ids[0]).labels, halves(0, 255))


def test_label_ids_go_before_train_ids(root: Path) -> None:
    for path in (root / "gtFine" / "val").rglob("*_labelIds.png"):
        other = path.with_name(path.name.replace("labelIds", "labelTrainIds"))
        write_mask(other, halves(5, 5), palette=None)
    reader = CityscapesReader(root, split="val")
    np.testing.assert_array_equal(reader.ground_truth(FRANKFURT).labels, halves(0, 13))


@pytest.mark.parametrize("split", ["val", "train_extra"])
def test_27_classes_need_label_ids(root: Path, split: str) -> None:
    only_train_ids(root)
    reader = CityscapesReader(root, split=split, label_set="cityscapes-27")
    with pytest.raises(DataError, match=r"_labelIds\.png, which label set cityscapes-27") as raised:
        reader.ground_truth(reader.image_ids[0])
    assert "--label-set cityscapes to score the 19 classes of" in str(raised.value)
    assert "labelTrainIds.png" in str(raised.value)


def test_a_train_id_beyond_18_is_named(root: Path) -> None:
    only_train_ids(root)
    path = root / "gtFine" / "val" / f"{FRANKFURT}_gtFine_labelTrainIds.png"
    write_mask(path, halves(0, 19), palette=None)
    with pytest.raises(DataError, match=r"labelTrainIds\.png has label 19"):
        CityscapesReader(root, split="val").ground_truth(FRANKFURT)


# --- faults --------------------------------------------------------------------------------------


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"no folder .*leftImg8bit.val"):
        CityscapesReader(tmp_path, split="val")


def test_an_unknown_split_or_label_set_is_an_error_with_a_suggestion(root: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"'trian' \(did you mean train\?\)"):
        CityscapesReader(root, split="trian")
    with pytest.raises(SettingsError, match=r"'cityscapes27' \(did you mean cityscapes-27\?\)"):
        CityscapesReader(root, split="val", label_set="cityscapes27")


def test_a_split_without_images_is_named(root: Path) -> None:
    for path in (root / "leftImg8bit" / "val").rglob("*.png"):
        path.unlink()
    with pytest.raises(DatasetNotFoundError, match=r"split val of cityscapes in .* has no images"):
        CityscapesReader(root, split="val")


def test_a_missing_mask_is_named(root: Path) -> None:
    (root / "gtFine" / "val" / f"{FRANKFURT}_gtFine_labelIds.png").unlink()
    both = r"no mask .*000294_gtFine_labelIds\.png and no .*000294_gtFine_labelTrainIds\.png"
    with pytest.raises(DataError, match=both):
        CityscapesReader(root, split="val").ground_truth(FRANKFURT)
    with pytest.raises(DataError, match=r"labelIds\.png, which label set cityscapes-27 needs; add"):
        CityscapesReader(root, split="val", label_set="cityscapes-27").ground_truth(FRANKFURT)


def test_a_label_id_beyond_33_is_named(root: Path) -> None:
    path = root / "gtFine" / "val" / f"{FRANKFURT}_gtFine_labelIds.png"
    write_mask(path, halves(7, 34), palette=None)
    with pytest.raises(DataError, match=r"labelIds\.png has label id 34"):
        CityscapesReader(root, split="val").ground_truth(FRANKFURT)


def test_a_mask_of_another_size_is_named(root: Path) -> None:
    path = root / "gtFine" / "val" / f"{FRANKFURT}_gtFine_labelIds.png"
    write_mask(path, halves(7, 8, SIZE[::-1]), palette=None)
    with pytest.raises(DataError, match=r"labelIds\.png is 6 wide and 8 high.*leftImg8bit\.png"):
        CityscapesReader(root, split="val").ground_truth(FRANKFURT)


def test_there_are_no_annotations(root: Path) -> None:
    with pytest.raises(DataError, match=r"cityscapes has no annotations .*--labels masks"):
        CityscapesReader(root, split="val").annotated(FRANKFURT)
