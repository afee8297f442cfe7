"""COCO: 91 ids to 80 classes, painting, crowds, either layout, and every fault named."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from layouts import SIZE, halves, make_coco, write_image, write_mask

from iseg_cli.errors import DataError, DatasetNotFoundError
from iseg_cli.readers.coco.reader import CocoReader, paint

IDS = ("COCO_train2014_000000000009", "COCO_train2014_000000000025", "COCO_train2014_000000000030")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_coco(tmp_path)


def change(root: Path, **content: object) -> Path:
    path = root / "annotations" / "instances_train2014.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **content}), "utf-8")
    return path


def test_ids_are_the_files_names(root: Path) -> None:
    reader = CocoReader(root, split="train2014")
    assert reader.image_ids == IDS
    assert (len(reader), reader.name, reader.split) == (3, "coco", "train2014")
    assert reader.sample(IDS[0]).image_path == root / "train2014" / f"{IDS[0]}.jpg"
    assert reader.sample(IDS[0]).image_path.is_file()
    assert reader.has_ground_truth


def test_train_means_2014(root: Path) -> None:
    assert CocoReader(root, split="train").split == "train2014"


@pytest.mark.parametrize("inside_images", [False, True])
def test_2017_and_images_folder(tmp_path: Path, inside_images: bool) -> None:
    root = make_coco(tmp_path, split="val2017", inside_images=inside_images)
    reader = CocoReader(root, split="val2017")
    assert reader.image_ids == ("000000000009", "000000000025", "000000000030")
    assert reader.sample("000000000009").image_path.is_file()


def test_nothing_is_printed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    CocoReader(root, split="train2014").ground_truth(IDS[0])
    assert capsys.readouterr() == ("", "")


def test_truth_may_be_read_in_several_threads(root: Path) -> None:
    reader = CocoReader(root, split="train")
    expected = [reader.ground_truth(image_id).labels for image_id in IDS]
    with ThreadPoolExecutor(4) as pool:
        for number, mask in enumerate(pool.map(reader.ground_truth, IDS * 30)):
            np.testing.assert_array_equal(mask.labels, expected[number % len(IDS)])


def test_the_largest_object_is_painted_first(root: Path) -> None:
    expected = halves(14, 0)  # a bench: 15 of 91, 14 of 80
    expected[:2, :2] = 1
    np.testing.assert_array_equal(
        CocoReader(root, split="train").ground_truth(IDS[0]).labels, expected
    )


def test_a_crowd_is_ignored_but_for_what_is_painted_on_it(root: Path) -> None:
    truth = CocoReader(root, split="train").ground_truth(IDS[1])
    np.testing.assert_array_equal(truth.labels, halves(255, 80))


def test_an_image_without_annotations_is_background(root: Path) -> None:
    reader = CocoReader(root, split="train")
    np.testing.assert_array_equal(reader.ground_truth(IDS[2]).labels, halves(0, 0))
    assert reader.annotated(IDS[2]) == ()


def test_annotated_are_the_objects_that_are_no_crowd(root: Path) -> None:
    reader = CocoReader(root, split="train")
    assert [c.name for c in reader.annotated(IDS[0])] == ["person", "bench"]
    assert [c.name for c in reader.annotated(IDS[1])] == ["toothbrush"]


@pytest.mark.parametrize(
    ("folder", "stem"),
    [
        ("masks/train2014", IDS[0]),
        ("masks/train2014", "000000000009"),
        ("coco_seg_anno", "000000000009"),
    ],
)
def test_a_folder_of_masks_goes_before_the_annotations(root: Path, folder: str, stem: str) -> None:
    write_mask(root / folder / f"{stem}.png", halves(3, 255), palette="coco")
    reader = CocoReader(root, split="train")
    np.testing.assert_array_equal(reader.ground_truth(IDS[0]).labels, halves(3, 255))
    with pytest.raises(DataError, match=rf"there is no mask .*{IDS[1]}\.png"):
        reader.ground_truth(IDS[1])  # never the one for some images and the other for the rest


def test_masks_alone_will_do(root: Path) -> None:
    (root / "annotations" / "instances_train2014.json").unlink()
    write_mask(root / "coco_seg_anno" / "000000000025.png", halves(80, 0))
    reader = CocoReader(root, split="train")
    assert reader.image_ids == IDS
    np.testing.assert_array_equal(reader.ground_truth(IDS[1]).labels, halves(80, 0))
    with pytest.raises(DataError, match=r"there is no .*instances_train2014\.json"):
        reader.annotated(IDS[1])


def test_images_of_other_kinds_count_without_a_json(root: Path) -> None:
    (root / "annotations" / "instances_train2014.json").unlink()
    write_mask(root / "coco_seg_anno" / "000000000025.png", halves(80, 0))
    write_image(root / "train2014" / "scan.PNG")
    write_image(root / "train2014" / f"{IDS[0]}.png")
    reader = CocoReader(root, split="train")
    assert reader.image_ids == (*IDS, "scan")
    assert reader.image_path("scan").name == "scan.PNG"
    assert reader.image_path(IDS[0]).suffix == ".jpg"
    (note,) = reader.notes
    assert note.endswith(f"one of each is read (first: {IDS[0]}.jpg, not {IDS[0]}.png)")


areas = st.integers(1, 5).map(float)
masks = arrays.arrays(bool, (3, 4))


@given(st.lists(st.tuples(areas, st.integers(1, 80), masks), max_size=5))
def test_every_pixel_has_the_label_of_its_smallest_object(objects) -> None:
    labels = paint(objects, (3, 4))
    for row in range(3):
        for column in range(4):
            over = [(area, label) for area, label, mask in objects if mask[row, column]]
            # The last of the smallest: what is painted later lies on top.
            smallest = min((area for area, _ in over), default=None)
            expected = [label for area, label in over if area == smallest]
            assert labels[row, column] == (expected[-1] if expected else 0)


# --- faults --------------------------------------------------------------------------------------


def test_a_root_without_images_names_both_places(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"no folder .*train2014 or .*images.train2014"):
        CocoReader(tmp_path, split="train")


def test_an_unknown_split_is_an_error_with_a_suggestion(root: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"no split 'train2041' \(did you mean train201"):
        CocoReader(root, split="train2041")


def test_neither_annotations_nor_masks_names_all_places(root: Path) -> None:
    (root / "annotations" / "instances_train2014.json").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"instances_train2014\.json.*masks.*coco_seg_"):
        CocoReader(root, split="train")


@pytest.mark.parametrize("content", ["{", "", "\x00"])
def test_unreadable_annotations_are_named(root: Path, content: str) -> None:
    path = root / "annotations" / "instances_train2014.json"
    path.write_text(content, "utf-8")
    with pytest.raises(DataError, match=r"instances_train2014\.json is no readable JSON"):
        CocoReader(root, split="train")


@pytest.mark.parametrize(
    "content",
    [{"images": 3}, {"images": None}, {"images": {}}, {"annotations": 3}, {"categories": 3}],
)
def test_annotations_of_another_kind_are_named(root: Path, content: dict[str, object]) -> None:
    change(root, **content)
    with pytest.raises(DataError, match=r"train2014\.json does not read like COCO's instances"):
        CocoReader(root, split="train")


@pytest.mark.parametrize("content", [[], 3, {}])
def test_a_json_without_annotations_is_named(root: Path, content: object) -> None:
    path = root / "annotations" / "instances_train2014.json"
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises((DataError, DatasetNotFoundError), match="train2014"):
        CocoReader(root, split="train")


def test_an_image_of_another_size_is_named(root: Path) -> None:
    path = root / "annotations" / "instances_train2014.json"
    records = json.loads(path.read_text("utf-8"))["images"]
    change(root, images=[{**record, "height": 7} for record in records])
    with pytest.raises(DataError, match=rf"is 8 wide and 7 high, but its image .*{IDS[2]}\.jpg"):
        CocoReader(root, split="train").ground_truth(IDS[2])


def test_a_mask_beyond_80_is_named(root: Path) -> None:
    write_mask(root / "coco_seg_anno" / "000000000009.png", halves(90, 0, SIZE))
    with pytest.raises(DataError, match=r"000000000009\.png has label 90, which label set coco la"):
        CocoReader(root, split="train").ground_truth(IDS[0])


def test_an_own_split_without_a_json_names_the_files_that_were_looked_for(root: Path) -> None:
    with pytest.raises(DatasetNotFoundError) as raised:
        CocoReader(root, split="default", label_set="from-json")
    message = str(raised.value)
    for name in ("annotations/instances_default.json", "default/_annotations.coco.json"):
        assert str(root / name) in message
    assert "has the splits train2014" in message
    (root / "annotations" / "instances_train2014.json").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"instances_default\.json.*see docs/datasets"):
        CocoReader(root, split="default", label_set="from-json")
