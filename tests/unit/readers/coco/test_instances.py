"""Records of a JSON as exporters write them: read as what they mean, or left out and told."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts import COCO_OBJECTS, SIZE, box, coco_object, halves, make_coco, write_image

from iseg_cli.errors import DataError, DatasetNotFoundError
from iseg_cli.readers.coco.reader import CocoReader

IDS = ("000000000009", "000000000025", "000000000030")
LEFT = box(0, 0, 4, 6)  # the left half


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_coco(tmp_path, split="val2017")


def opened(root: Path, **content: object) -> CocoReader:
    path = root / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **content}), "utf-8")
    return CocoReader(root, split="val2017")


def record(number: object = 9, **fields: object) -> dict[str, Any]:
    height, width = SIZE
    name = "000000000009.jpg"
    return {"id": number, "file_name": name, "height": height, "width": width, **fields}


def bench(**fields: object) -> dict[str, Any]:
    """A bench (label 14) over the left half of image 9."""
    return {**coco_object(2, 9, 15, LEFT, area=24), **fields}


def labels_of(reader: CocoReader, image_id: str = IDS[0]) -> np.ndarray:
    return reader.ground_truth(image_id).labels


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sides", [(6.0, 8.0), ("6", "8"), ("6.0", 8), (6, 8)])
def test_sizes_are_numbers_however_they_are_written(root: Path, sides) -> None:
    reader = opened(root, images=[record(height=sides[0], width=sides[1])], annotations=[bench()])
    np.testing.assert_array_equal(labels_of(reader), halves(14, 0))
    assert reader.notes == ()


@pytest.mark.parametrize(
    "side", [0, None, -8, 8.5, "wide", [8], float("nan"), 1e300, 10**400, True]
)
def test_a_size_that_is_none_comes_from_the_image(root: Path, side: object) -> None:
    reader = opened(root, images=[record(width=side)], annotations=[bench()])
    np.testing.assert_array_equal(labels_of(reader), halves(14, 0))
    (root / "val2017" / "000000000009.jpg").unlink()
    with pytest.raises(DataError, match=r"there is no image .*000000000009\.jpg"):
        labels_of(reader)


def test_a_missing_size_comes_from_the_image_and_run_lengths_must_have_it(root: Path) -> None:
    image = {"id": 9, "file_name": "000000000009.jpg"}
    wrong = {"size": [8, 6], "counts": [0, 48]}
    reader = opened(root, images=[image], annotations=[bench(id=7, segmentation=wrong)])
    with pytest.raises(DataError, match="annotation 7: its run lengths are 6 wide and 8 high, its"):
        labels_of(reader)


@pytest.mark.parametrize("area", [None, [400], "big", float("nan"), float("inf"), 0, -3, {}, True])
def test_an_area_that_is_none_is_the_masks(root: Path, area: object) -> None:
    """A person of 4 pixels before a bench of 24, listed first: the smaller one stays on top."""
    person = {**COCO_OBJECTS[0], "area": area}
    expected = halves(14, 0)
    expected[:2, :2] = 1
    reader = opened(root, annotations=[person, bench()])
    np.testing.assert_array_equal(labels_of(reader), expected)
    del person["area"]
    np.testing.assert_array_equal(labels_of(opened(root, annotations=[person, bench()])), expected)


def test_an_area_in_a_string_is_a_number(root: Path) -> None:
    """As large as the image, it is painted first, and the bench over it."""
    person = {**COCO_OBJECTS[0], "area": "48.0"}
    reader = opened(root, annotations=[person, bench()])
    np.testing.assert_array_equal(labels_of(reader), halves(14, 0))


@pytest.mark.parametrize(
    ("written", "is_crowd"),
    [(0, False), (1, True), (True, True), (False, False), ("0", False), ("1", True), (None, False),
     ("true", True), ("false", False), (1.0, True), ([], False), ("", False)],
)  # fmt: skip
def test_iscrowd_is_a_flag_however_it_is_written(root: Path, written, is_crowd: bool) -> None:
    other = coco_object(3, 25, 1, LEFT, area=24)
    reader = opened(root, annotations=[bench(iscrowd=written), other])
    np.testing.assert_array_equal(labels_of(reader), halves(255 if is_crowd else 14, 0))
    assert [c.name for c in reader.annotated(IDS[0])] == ([] if is_crowd else ["bench"])


def test_a_missing_iscrowd_is_none(root: Path) -> None:
    entry = bench()
    del entry["iscrowd"], entry["id"], entry["bbox"]
    reader = opened(root, annotations=[entry, entry])
    np.testing.assert_array_equal(labels_of(reader), halves(14, 0))
    assert reader.notes == ()


# --- segmentations -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("polygons", "count"),
    [([[5, 5]], 1), ([[4, 5, 4, 9]], 1), ([LEFT, [1, 1]], 1), ([[1, 1, 2], LEFT, [3]], 2),
     ([LEFT, [*LEFT, 3]], 1), ([["a"] * 6, LEFT], 1), ([[None] * 8], 1), ([[[1]] * 6], 1),
     ([[0, 0, 1e308, 0, 1e308, 1e308]], 1), ([[float("nan")] * 6], 1), ([3, LEFT], 1),
     ([{}, LEFT], 1)],
)  # fmt: skip
def test_polygons_that_are_none_are_left_out_and_counted(root: Path, polygons, count: int) -> None:
    flawed = bench(id=7, segmentation=polygons)
    good = coco_object(8, 9, 1, box(4, 0, 4, 6), area=24)
    reader = opened(root, annotations=[flawed, good])
    left = 14 if LEFT in polygons else 0
    np.testing.assert_array_equal(labels_of(reader), halves(left, 1))
    (note,) = reader.notes
    words = "1 polygon that is" if count == 1 else f"{count} polygons that are"
    assert note.startswith(f"{words} not three points or more")
    assert note.endswith("(first annotation: 7)")


@pytest.mark.parametrize(
    ("polygons", "reason"),
    [([[0.1, 0.1, 0.5, 0.1, 0.5, 0.9]], "its points are fractions of the image; write pixels"),
     ([box(8, 0, 4, 6)], "it lies outside of its image, 8 wide and 6 high"),
     ([box(0, -9, 8, 9), [80, 60, 90, 60, 90, 70]], "it lies outside of its image")],
)  # fmt: skip
def test_polygons_in_other_units_are_told(root: Path, polygons, reason: str) -> None:
    reader = opened(root, annotations=[bench(id=7, segmentation=polygons)])
    np.testing.assert_array_equal(labels_of(reader), halves(0, 0))
    (note,) = reader.notes
    assert note.startswith("1 annotation in ")
    assert f"has no part in masks (first id: 7, {reason}" in note


@pytest.mark.parametrize(
    "polygons", [[box(-4, 0, 8, 6)], [box(0, -3, 4, 12)], [LEFT, box(80, 0, 9, 6)]]
)
def test_polygons_that_leave_the_image_are_cut_without_a_word(root: Path, polygons) -> None:
    reader = opened(root, annotations=[bench(segmentation=polygons)])
    np.testing.assert_array_equal(labels_of(reader), halves(14, 0))
    assert reader.notes == ()


def test_a_corner_of_one_pixel_is_no_fraction(root: Path) -> None:
    reader = opened(root, annotations=[bench(segmentation=[box(0, 0, 1, 1)])])
    assert np.argwhere(labels_of(reader) == 14).tolist() == [[0, 0]]
    assert reader.notes == ()


@pytest.mark.parametrize("segmentation", [[[]], [[], LEFT]])
def test_an_empty_polygon_is_nothing(root: Path, segmentation) -> None:
    reader = opened(root, annotations=[bench(segmentation=segmentation)])
    np.testing.assert_array_equal(labels_of(reader), halves(14 if LEFT in segmentation else 0, 0))
    assert reader.notes == ()


@pytest.mark.parametrize("segmentation", [LEFT, [[str(number) for number in LEFT]]])
def test_one_flat_list_and_digits_in_strings_are_a_polygon(root: Path, segmentation) -> None:
    reader = opened(root, annotations=[bench(segmentation=segmentation)])
    np.testing.assert_array_equal(labels_of(reader), halves(14, 0))


@pytest.mark.parametrize("segmentation", [None, [], {}, ""])
def test_no_segmentation_is_counted_and_gives_a_label_still(root: Path, segmentation) -> None:
    reader = opened(root, annotations=[bench(id=7, segmentation=segmentation)])
    np.testing.assert_array_equal(labels_of(reader), halves(0, 0))
    assert [c.name for c in reader.annotated(IDS[0])] == ["bench"]
    (note,) = reader.notes
    assert note.startswith("1 annotation without segmentation in")
    assert note.endswith("has no part in masks (first id: 7)")


@pytest.mark.parametrize(
    ("counts", "reason"),
    [([0, 24, 23], "add up to 47 of 48 pixels"), ([0, 24, 24, 1], "add up to 49 of 48 pixels"),
     ([], "add up to 0 of 48 pixels"), ([0, 50, -2], "one of its run lengths is negative"),
     ([0, 24, 23.5, 0.5], "one of its run lengths is no whole number"),
     ([0, "x", 48], "one of its run lengths is no whole number"),
     ([0, True, 47], "one of its run lengths is no whole number"),
     (None, "have no counts"), (48, "have no counts"),
     ("", "add up to 0 of 48 pixels"), ("81?g", "is no compressed counts"),
     ("~~~", "is no compressed counts"), ("\u00e9", "is no compressed counts"),
     ("o" * 40 + "0", "is no compressed counts"), ("8", "add up to 8 of 48 pixels"),
     ("N`1", "one of its run lengths is negative")],
)  # fmt: skip
def test_run_lengths_that_do_not_fill_the_image_are_left_out(root, counts, reason: str) -> None:
    flawed = bench(id=7, segmentation={"size": list(SIZE), "counts": counts})
    good = coco_object(8, 9, 1, box(4, 0, 4, 6), area=24)
    reader = opened(root, annotations=[flawed, good, {**flawed, "id": 9}])
    np.testing.assert_array_equal(labels_of(reader), halves(0, 1))
    (note,) = reader.notes
    assert note.startswith("2 annotations in ")
    assert "(first id: 7, " in note
    assert reason in note


@pytest.mark.parametrize(
    ("size", "reason"),
    [([8, 6], "are 6 wide and 8 high, its image 8 wide and 6 high"), ([0, 8], "is [0, 8]"),
     ([6], "have no size"), (None, "have no size"), ([6, "x"], "is [6, 'x']"), ("68", "no size")],
)  # fmt: skip
def test_run_lengths_of_another_size_are_left_out(root: Path, size: object, reason: str) -> None:
    flawed = bench(segmentation={"size": size, "counts": [0, 48]})
    reader = opened(root, annotations=[flawed])
    np.testing.assert_array_equal(labels_of(reader), halves(0, 0))
    assert reason in reader.notes[0]


@pytest.mark.parametrize("segmentation", [3, "x", True, 0.5])
def test_what_is_no_segmentation_is_left_out(root: Path, segmentation: object) -> None:
    reader = opened(root, annotations=[bench(segmentation=segmentation)])
    np.testing.assert_array_equal(labels_of(reader), halves(0, 0))
    assert "neither polygons nor run lengths" in reader.notes[0]


@pytest.mark.parametrize("counts", [[0, 24, 24], [0.0, 24.0, "24"], "0h0h0"])
def test_good_run_lengths_are_decoded(root: Path, counts: object) -> None:
    """The left half: 24 pixels down the columns after none of background, then 24 of it."""
    reader = opened(root, annotations=[bench(segmentation={"size": [6.0, "8"], "counts": counts})])
    np.testing.assert_array_equal(labels_of(reader), halves(14, 0))
    assert reader.notes == ()


# --- which record belongs to which ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "annotation", "meets"),
    [(9, "9", True), ("9", 9, True), (9.0, 9, True), (9, 9.0, True), ("9", " 9", True),
     ("a-1", "a-1", True), ("09", 9, False), (9, "09", False), (-9, "-9", True), (9, True, False)],
)  # fmt: skip
def test_an_integer_and_its_digits_are_one_id(root: Path, image, annotation, meets: bool) -> None:
    reader = opened(root, images=[record(image)], annotations=[bench(image_id=annotation)])
    np.testing.assert_array_equal(labels_of(reader), halves(14 if meets else 0, 0))
    assert bool(reader.notes) != meets


@pytest.mark.parametrize("category", ["15", 15.0])
def test_category_ids_meet_alike(root: Path, category: object) -> None:
    reader = opened(root, annotations=[bench(category_id=category)])
    np.testing.assert_array_equal(labels_of(reader), halves(14, 0))


def test_ids_go_as_the_file_has_them(root: Path) -> None:
    images = [
        record(9.0),
        record("25", file_name="000000000025.jpg"),
        record("x", file_name="000000000030.jpg"),
    ]
    source_ids = opened(root, images=images, annotations=[]).source_ids
    assert source_ids is not None
    assert list(source_ids.images.items()) == [(IDS[0], 9), (IDS[1], "25"), (IDS[2], "x")]
    assert [type(number) for number in source_ids.images.values()] == [int, str, str]


def test_two_records_of_one_file_are_united(root: Path) -> None:
    images = [record(9), record(1009, file_name="./000000000009.jpg"), record(9)]
    right = coco_object(8, 1009, 1, box(4, 0, 4, 6), area=24)
    reader = opened(root, images=images, annotations=[bench(), right])
    assert reader.image_ids == IDS[:1]
    np.testing.assert_array_equal(labels_of(reader), halves(14, 1))
    assert [c.name for c in reader.annotated(IDS[0])] == ["person", "bench"]
    assert reader.source_ids is not None
    assert reader.source_ids.images == {IDS[0]: 9}
    assert "2 images of " in reader.notes[0]
    assert "are listed more than once" in reader.notes[0]


def test_records_of_one_file_and_two_sizes_have_the_images(root: Path) -> None:
    images = [record(9), record(1009, height=60)]
    np.testing.assert_array_equal(
        labels_of(opened(root, images=images, annotations=[bench()])), halves(14, 0)
    )


def test_two_files_of_one_id_fail_and_the_others_do_not(root: Path) -> None:
    images = [record(9), record("9", file_name="000000000025.jpg"), record(30, file_name="30.jpg")]
    reader = opened(root, images=images, annotations=[bench()])
    assert reader.image_ids == ("30",)
    assert set(reader.refused) == {IDS[0], IDS[1]}
    assert f"gives the id 9 to {IDS[0]} and {IDS[1]}" in reader.refused[IDS[0]]


def test_annotations_of_no_image_are_counted(root: Path) -> None:
    strays = [bench(image_id=number) for number in (77, "78", 79)]
    reader = opened(root, annotations=[bench(), *strays])
    np.testing.assert_array_equal(labels_of(reader), halves(14, 0))
    (note,) = reader.notes
    assert note.startswith("3 of 4 annotations in ")
    assert note.endswith("left out: they belong to no image there (first image_id: 77)")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"image_id": None}, "it has no image_id"), ({"category_id": None}, "no category_id"),
     ({"category_id": [1]}, "no category_id"), ({"category_id": 12}, "none of the file's categ"),
     ({"image_id": {}}, "it has no image_id")],
)  # fmt: skip
def test_annotations_without_image_or_category_are_counted(root: Path, changes, words) -> None:
    right = coco_object(8, 9, 1, box(4, 0, 4, 6), area=24)
    reader = opened(root, annotations=[bench(**changes), right, 3])
    np.testing.assert_array_equal(labels_of(reader), halves(0, 1))
    assert words in reader.notes[0]
    assert "it is no object (first record: 3)" in reader.notes[1]


@pytest.mark.parametrize(
    ("image", "words"),
    [({"id": 1}, "it has no file_name (first id: 1)"), (3, "it is no object"),
     ({"file_name": "x.jpg"}, "it has no id (first file_name: 'x.jpg')"),
     ({"id": True, "file_name": "x.jpg"}, "it has no id"),
     ({"id": 1, "file_name": ["x.jpg"]}, "it has no file_name")],
)  # fmt: skip
def test_images_without_name_or_id_are_counted(root: Path, image: object, words: str) -> None:
    reader = opened(root, images=[record(), image], annotations=[bench()])
    assert reader.image_ids == IDS[:1]
    assert words in reader.notes[0]


def test_no_usable_image_is_an_error(root: Path) -> None:
    with pytest.raises(DataError, match=r"no image of .*val2017\.json can be used: 2 images of"):
        opened(root, images=[{"id": 1}, {"id": 2, "path": "a.jpg"}], annotations=[])


def test_only_images_are_no_truth(root: Path) -> None:
    reader = opened(root, annotations=None)
    assert not reader.has_ground_truth
    with pytest.raises(DataError, match=r"instances_val2017\.json has no annotations"):
        reader.annotated(IDS[0])


# --- file names ----------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["val2017/", "images/val2017/", "images/", "./", ""])
@pytest.mark.parametrize("lies", ["val2017", "images/val2017", "images", "", "annotations"])
def test_images_are_found_with_any_prefix_and_in_any_folder(tmp_path, prefix, lies: str) -> None:
    """A prefix that all names have is none of the ids; the image may lie below it or not."""
    root = tmp_path / "coco"
    for folder in {Path(lies), Path(lies, prefix)}:
        write_image(root / folder / "9.jpg")
        (root / "annotations").mkdir(exist_ok=True)
        path = root / "annotations" / "instances_val2017.json"
        path.write_text(json.dumps({"images": [record(file_name=f"{prefix}9.jpg")]}), "utf-8")
        reader = CocoReader(root, split="val2017")
        assert reader.image_ids == ("9",)
        assert reader.image_path("9").is_file(), folder
        reader.image_path("9").unlink()


def test_folders_that_differ_are_part_of_the_ids(root: Path) -> None:
    images = [record(1, file_name="val2017/a/1.jpg"), record(2, file_name="val2017/b/1.jpg")]
    for name in "ab":
        write_image(root / "val2017" / name / "1.jpg")
    reader = opened(root, images=images, annotations=[bench(image_id=2)])
    assert reader.image_ids == ("a/1", "b/1")
    assert reader.image_path("b/1") == root / "val2017" / "b" / "1.jpg"
    np.testing.assert_array_equal(labels_of(reader, "b/1"), halves(14, 0))


@pytest.mark.parametrize(
    ("name", "words"),
    [("http://images.cocodataset.org/val2017/1.jpg", "download the image"),
     ("file:///data/1.jpg", "download the image"), ("/data/1.jpg", "write the path below"),
     ("C:\\data\\1.jpg", "write the path below"), ("C:/data/1.jpg", "write the path below"),
     ("\\\\server\\1.jpg", "write the path below"), ("images\\none.jpg", "write / between"),
     ("../1.jpg", "no path below"), ("a/../1.jpg", "no path below"), ("a\0.jpg", "no file is call"),
     ("\ud800.jpg", "no file is called"), ("x" * 300 + ".jpg", "too long"), (".", "no path below")],
)  # fmt: skip
def test_names_of_no_file_fail_and_the_others_do_not(root: Path, name: str, words: str) -> None:
    images = [record(), record(2, file_name=name)]
    reader = opened(root, images=images, annotations=[bench()])
    assert reader.image_ids == IDS[:1]
    (reason,) = reader.refused.values()
    assert words in reason


def test_annotations_of_a_refused_image_are_told_with_it_alone(root: Path) -> None:
    images = [record(), record(25, file_name="https://x.org/b.jpg")]
    other = coco_object(8, 25, 1, LEFT, area=24)
    reader = opened(root, images=images, annotations=[bench(), other])
    assert list(reader.refused) == ["https://x.org/b.jpg"]
    assert reader.notes == ()


def test_absolute_paths_within_the_dataset_and_blanks_around_names_are_found(root: Path) -> None:
    folder = root / "val2017"
    images = [
        record(file_name=str(folder / f"{IDS[0]}.jpg")),
        record(25, file_name=f"{IDS[1]}.jpg "),
    ]
    reader = opened(root, images=images, annotations=[bench()])
    assert [reader.image_path(i).name for i in reader.image_ids] == [f"{i}.jpg" for i in IDS[:2]]
    np.testing.assert_array_equal(labels_of(reader), halves(14, 0))
    assert reader.refused == {}


def test_only_names_of_no_file_are_an_error(root: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"has no images: .* lists '/a\.jpg'; write the"):
        opened(root, images=[record(file_name="/a.jpg")], annotations=[])


def test_a_backslash_is_a_path_where_that_file_exists(root: Path) -> None:
    write_image(root / "val2017" / "deep" / "1.jpg")
    images = [record(), record(2, file_name="deep\\1.jpg")]
    reader = opened(root, images=images, annotations=[bench(image_id=2)])
    assert reader.image_ids == (IDS[0], "deep/1")
    assert reader.image_path("deep/1") == root / "val2017" / "deep" / "1.jpg"


def test_two_endings_of_one_name_are_refused(root: Path) -> None:
    images = [record(1, file_name="1.jpg"), record(2, file_name="1.png")]
    with pytest.raises(DataError, match=r"1\.jpg and 1\.png, which would both be written to the m"):
        opened(root, images=images, annotations=[])


def test_names_that_differ_in_case_are_told(root: Path) -> None:
    images = [record(1, file_name="A.jpg"), record(2, file_name="a.jpg")]
    reader = opened(root, images=images, annotations=[])
    assert reader.image_ids == ("A", "a")
    assert "1 image of" in reader.notes[0]
    assert "(first: A and a)" in reader.notes[0]
    write_image(root / "val2017" / "A.jpg")
    (root / "val2017" / "a.jpg").hardlink_to(root / "val2017" / "A.jpg")
    with pytest.raises(DataError, match=r"A\.jpg and a\.jpg, which are one file"):
        opened(root)


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_may_be_stored_in_either_way(root: Path, listed: str, stored: str) -> None:
    name = "\u00e9t\u00e9.jpg"
    write_image(root / "val2017" / unicodedata.normalize(stored, name))
    both = [unicodedata.normalize(form, name) for form in (listed, stored)]
    images = [record(1, file_name=both[0]), record(2, file_name=both[1])]
    reader = opened(root, images=images[:1], annotations=[])
    assert reader.image_path(reader.image_ids[0]).is_file()
    assert len(opened(root, images=images).image_ids) == 1
    write_image(root / "val2017" / both[0])
    with pytest.raises(DataError, match="differ only in how their accents are stored"):
        opened(root, images=images)


def test_an_ending_in_upper_case_is_found(root: Path) -> None:
    write_image(root / "val2017" / "1.JPG")
    reader = opened(root, images=[record(file_name="1.jpg")], annotations=[])
    assert reader.image_path("1").is_file()


# --- the file itself -----------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marks_of_encodings_are_passed_over(root: Path, encoding: str) -> None:
    path = root / "annotations" / "instances_val2017.json"
    path.write_bytes(path.read_text("utf-8").encode(encoding))
    assert CocoReader(root, split="val2017").image_ids == IDS


def test_a_path_with_braces_is_no_template(tmp_path: Path) -> None:
    root = make_coco(tmp_path / "{0} {kind}", split="val2017")
    reader = opened(root, images=[record(), 3], annotations=[bench(category_id=None)])
    assert all("{0} {kind}" in note for note in reader.notes)


# --- crowds --------------------------------------------------------------------------------------


def test_crowds_are_counted_where_labels_come_from_annotations(root: Path) -> None:
    (note,) = CocoReader(root, split="val2017").annotation_notes
    assert note.startswith("1 of 4 annotations in ")
    assert note.endswith("is a crowd, which gives no image-level labels")
    assert opened(root, annotations=[bench()]).annotation_notes == ()


def test_only_crowds_are_told_at_once(root: Path) -> None:
    reader = opened(root, annotations=[bench(iscrowd=1), bench(id=3, iscrowd="1")])
    assert "all 2 annotations in" in reader.notes[0]
    assert "which give no image-level labels and no pixels; write iscrowd 0" in reader.notes[0]
    assert reader.annotation_notes == ()  # told once
    assert set(labels_of(reader).flat) == {0, 255}


def test_a_part_knows_the_same_of_its_images(root: Path) -> None:
    reader = CocoReader(root, split="val2017")
    part = reader.part(IDS[:1])
    np.testing.assert_array_equal(labels_of(part), labels_of(reader))
    assert part.annotated(IDS[0]) == reader.annotated(IDS[0])
    assert part.image_path(IDS[0]) == reader.image_path(IDS[0])
    with pytest.raises(DataError, match=f"no image '{IDS[1]}'"):
        part.ground_truth(IDS[1])
