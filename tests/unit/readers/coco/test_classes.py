"""Categories of a JSON: joined to COCO's table by name, or a table of their own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import box, coco_object, halves, make_coco

from iseg_cli.errors import DataError, DatasetNotFoundError, SettingsError
from iseg_cli.label_images.palette import voc_color
from iseg_cli.readers.coco.categories import CategoryEntry
from iseg_cli.readers.coco.classes import Classes, choose_classes
from iseg_cli.readers.coco.reader import CocoReader
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.readers.registry import open_dataset
from iseg_cli.types import LabelSet

PATH = Path("instances_own.json")
COCO = load_label_set("coco")


def classes(
    names: dict[Any, str], used: tuple[Any, ...] | None = None, table: LabelSet | None = COCO
) -> Classes:
    entries = [CategoryEntry(number, name) for number, name in names.items()]
    return choose_classes(entries, tuple(names) if used is None else used, table, PATH)


def own(names: dict[Any, str], used: tuple[Any, ...] | None = None) -> Classes:
    return classes(names, used, table=None)


def opened(root: Path, **content: object) -> CocoReader:
    label_set = str(content.pop("label_set", "coco"))
    path = root / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **content}), "utf-8")
    return CocoReader(root, split="val2017", label_set=label_set)


# --- joined to a table ---------------------------------------------------------------------------


def test_cocos_own_file_has_cocos_labels() -> None:
    numbers = {(c.source_ids or (c.id,))[0]: c for c in COCO.categories}
    joined = classes({number: c.name for number, c in numbers.items()})
    assert joined.label_set is COCO
    assert joined.labels == {number: c.id for number, c in numbers.items()}
    assert joined.source_ids == {c.id: number for number, c in numbers.items()}
    assert joined.notes == ()


def test_numbers_of_vocs_order_are_joined_by_name() -> None:
    """labelme numbers VOC's classes: 15 is a person there, and a bench among COCO's ids."""
    joined = classes({15: "person", 6: "bus", 7: "car"})
    assert joined.labels == {15: 1, 6: 6, 7: 3}
    assert joined.source_ids == {1: 15, 6: 6, 3: 7}


@pytest.mark.parametrize(
    ("name", "label"),
    [("dog", 17), ("Dog", 17), ("DOG", 17), ("traffic light", 10), ("Traffic_Light", 10),
     ("traffic-light", 10), ("people", 1), ("plane", 5), ("motorbike", 4)],
)  # fmt: skip
def test_names_meet_in_any_case_and_as_the_prompts_words(name: str, label: int) -> None:
    assert classes({0: name}).labels == {0: label}


@pytest.mark.parametrize("name", ["background", "Background", "_background_", "__background__"])
def test_background_is_label_0(name: str) -> None:
    assert classes({0: name, 1: "dog"}).labels == {0: 0, 1: 17}
    made = own({0: name, 1: "hound"})
    assert made.labels == {0: 0, 1: 1}
    assert made.label_set.names == {0: "background", 1: "hound"}


def test_a_class_that_the_table_lacks_is_refused_with_both_names() -> None:
    with pytest.raises(DataError) as raised:
        classes({15: "person", 18: "doggy", 20: "tree"})
    sentence = str(raised.value)
    for words in ("category 18 'doggy'", "label set coco lacks", "(did you mean dog?)", "1 more",
                  "--label-set from-json"):  # fmt: skip
        assert words in sentence


def test_a_class_that_no_annotation_has_may_be_lacking() -> None:
    assert classes({1: "person", 2: "tree"}, used=(1,)).labels == {1: 1}


def test_two_names_of_one_class_are_one_and_told() -> None:
    joined = classes({1: "motorbike", 2: "motorcycle", 3: "Person"})
    assert joined.labels == {1: 4, 2: 4, 3: 1}
    assert joined.source_ids == {4: 1, 1: 3}
    (note,) = joined.notes
    assert "1 (motorbike) and 2 (motorcycle)" in note
    assert note.endswith("are one class, 1 in --rle")


def test_without_categories_ids_are_cocos_and_it_is_told(tmp_path: Path) -> None:
    root = make_coco(tmp_path, split="val2017")
    reader = opened(root, categories=None)
    expected = halves(14, 0)
    expected[:2, :2] = 1
    np.testing.assert_array_equal(reader.ground_truth("000000000009").labels, expected)
    (note,) = reader.notes
    assert note.endswith("has no categories, so its category ids were read as COCO's own")
    assert reader.source_ids is not None
    assert reader.source_ids.classes[80] == 90
    with pytest.raises(DataError, match="has no categories, and its annotations have the category"):
        opened(root, annotations=[coco_object(1, 9, 91, box(0, 0, 4, 6), area=24)])


def test_real_categories_leave_masks_as_they_are(tmp_path: Path) -> None:
    root = make_coco(tmp_path, split="val2017")
    reader = CocoReader(root, split="val2017")
    expected = halves(14, 0)
    expected[:2, :2] = 1
    np.testing.assert_array_equal(reader.ground_truth("000000000009").labels, expected)
    assert reader.notes == ()


# --- a table of their own ------------------------------------------------------------------------


def test_categories_are_numbered_by_their_ids() -> None:
    made = own({3: "traffic_cone", 7: "cat", 12: "dog"})
    assert made.labels == {3: 1, 7: 2, 12: 3}
    first, second, _ = made.label_set.categories
    assert (first.id, first.name, first.prompt) == (1, "traffic_cone", "traffic cone")
    assert (first.color, second.color) == (voc_color(1), voc_color(2))
    assert (first.source_ids, second.source_ids) == ((3,), (7,))
    assert made.source_ids == {1: 3, 2: 7, 3: 12}
    assert (made.label_set.name, made.label_set.background) == ("from-json", 0)


def read_own(tmp_path: Path, categories: list[Any], annotations: list[Any] = []) -> CocoReader:  # noqa: B006
    root = make_coco(tmp_path, split="val2017")
    return opened(root, categories=categories, annotations=annotations, label_set="from-json")


@pytest.mark.parametrize(
    ("ids", "order"),
    [([5, 2, 9], "bac"), ([0, 1, 2], "abc"), (["10", "9", 1], "cba"), (["z", "y", 3], "cba"),
     ([2.0, "1", -1], "cba")],
)  # fmt: skip
def test_integers_go_first_by_value_then_names(tmp_path: Path, ids: list[Any], order: str) -> None:
    records = [{"id": number, "name": name} for number, name in zip(ids, "abc", strict=True)]
    reader = read_own(tmp_path, records)
    assert [c.name for c in reader.label_set.categories] == list(order)
    assert reader.source_ids is not None
    by_name = dict(zip("abc", ids, strict=True))
    assert list(reader.source_ids.classes.values()) == [by_name[name] for name in order]


def test_truth_and_labels_are_of_the_own_table(tmp_path: Path) -> None:
    records = [{"id": 0, "name": "crack"}, {"id": "b", "name": "rust"}]
    objects = [
        coco_object(1, 9, 0, box(0, 0, 4, 6), area=24),
        {**coco_object(2, 9, 0, box(4, 0, 4, 6), area=24), "category_id": "b"},
    ]
    reader = read_own(tmp_path, records, objects)
    np.testing.assert_array_equal(reader.ground_truth("000000000009").labels, halves(1, 2))
    assert [c.name for c in reader.annotated("000000000009")] == ["crack", "rust"]
    assert reader.annotated("000000000025") == ()


def test_background_that_is_painted_is_background(tmp_path: Path) -> None:
    records = [{"id": 0, "name": "_background_"}, {"id": 1, "name": "crack"}]
    objects = [
        coco_object(1, 9, 1, box(0, 0, 8, 6), area=48),
        coco_object(2, 9, 0, box(4, 0, 4, 6), area=24),
    ]
    reader = read_own(tmp_path, records, objects)
    np.testing.assert_array_equal(reader.ground_truth("000000000009").labels, halves(1, 0))
    assert [c.name for c in reader.annotated("000000000009")] == ["crack"]


def test_names_that_differ_in_case_are_one_class() -> None:
    made = own({0: "Dog", 1: "dog", 2: "cat"})
    assert made.labels == {0: 1, 1: 1, 2: 2}
    assert [c.name for c in made.label_set.categories] == ["Dog", "cat"]
    assert made.source_ids == {1: 0, 2: 2}
    assert "0 (Dog) and 1 (dog)" in made.notes[0]


def test_of_two_ids_the_one_that_is_used_is_the_classs() -> None:
    made = own({0: "pothole", 1: "pothole"}, used=(1,))
    assert made.source_ids == {1: 1}
    assert made.notes == ()


@pytest.mark.parametrize("name", ["", "   ", None, [], True, "\ud800"])
def test_a_class_without_name_is_refused_if_it_is_used(tmp_path: Path, name: object) -> None:
    records = [{"id": 3, "name": name}, {"id": 4, "name": "crack"}, {"id": 5}, 3, {"name": "x"}]
    objects = [coco_object(1, 9, 4, box(0, 0, 4, 6), area=24)]
    reader = read_own(tmp_path / "unused", records, objects)
    assert [c.name for c in reader.label_set.categories] == ["crack"]
    with pytest.raises(DataError, match="gives no name to the category 3 of its annotations"):
        read_own(tmp_path / "used", records, [{**objects[0], "category_id": 3}])


def test_a_number_is_a_name(tmp_path: Path) -> None:
    reader = read_own(tmp_path, [{"id": 1, "name": 7}])
    assert [c.name for c in reader.label_set.categories] == ["7"]


def test_one_id_of_two_names_is_refused_if_it_is_used() -> None:
    entries = [CategoryEntry(1, "cat"), CategoryEntry("1", "dog"), CategoryEntry(2, "cow")]
    with pytest.raises(DataError, match="gives the category id '1' to 'cat' and 'dog'"):
        choose_classes(entries, {1}, None, PATH)
    assert choose_classes(entries, {2}, None, PATH).labels == {1: 1, 2: 2}


@pytest.mark.parametrize("count", [0, 255, 1000])
def test_more_than_a_mask_holds_are_refused(count: int) -> None:
    with pytest.raises(DataError, match=rf"has {count} categories with a name.*1 to 254"):
        own({number: f"class {number}" for number in range(count)})


def test_as_many_as_a_mask_holds_are_taken() -> None:
    made = own({number: f"class {number}" for number in range(254)})
    assert made.labels[253] == 254
    assert len({category.color for category in made.label_set.categories}) == 254


@given(st.lists(st.text(min_size=1, max_size=5), max_size=12))
def test_every_own_class_has_a_label_and_an_id_of_its_own(names: list[str]) -> None:
    try:
        made = own(dict(enumerate(" ".join(name.split()) for name in names)))
    except DataError:
        return
    labels = [category.id for category in made.label_set.categories]
    assert labels == list(range(1, len(labels) + 1))
    assert set(made.labels) == set(range(len(names)))
    assert set(made.labels.values()) <= {0, *labels}
    assert all(made.labels[number] == label for label, number in made.source_ids.items())


# --- opened by name ------------------------------------------------------------------------------


def test_from_json_is_a_label_set_of_coco_alone(tmp_path: Path) -> None:
    root = make_coco(tmp_path, split="val2017")
    reader = open_dataset("coco", root=root, split="val2017", label_set="from-json")
    assert (reader.label_set.name, len(reader.label_set.categories)) == ("from-json", 80)
    assert open_dataset("coco", root=root, split="val2017").label_set.name == "coco"
    with pytest.raises(SettingsError, match=r"'from-jso' \(did you mean from-json\?\)"):
        open_dataset("coco", root=root, split="val2017", label_set="from-jso")
    with pytest.raises(SettingsError, match="coco-object has no label set 'from-json'"):
        open_dataset("coco-object", root=root, label_set="from-json")


def test_from_json_needs_a_json_with_categories(tmp_path: Path) -> None:
    root = make_coco(tmp_path, split="val2017")
    with pytest.raises(DataError, match="has no categories to make a label set of"):
        opened(root, categories=[], annotations=[], label_set="from-json")
    (root / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"no .*instances_val2017\.json to take classes"):
        CocoReader(root, split="val2017", label_set="from-json")


@pytest.mark.parametrize(
    ("place", "split"),
    [("annotations/instances_default.json", "default"), ("annotations/train.json", "train"),
     ("annotations/instances_val.json", "val"), ("valid/_annotations.coco.json", "valid"),
     ("train/_annotations.coco.json", "train")],
)  # fmt: skip
@pytest.mark.parametrize("images", ["images", "{split}", "images/{split}", "{json}"])
def test_splits_are_those_of_the_json_files(tmp_path, place: str, split: str, images: str) -> None:
    made = make_coco(tmp_path, split="val2017")
    root = tmp_path / "own"
    (root / place).parent.mkdir(parents=True)
    (made / "annotations" / "instances_val2017.json").rename(root / place)
    folder = root / images.format(split=split, json=Path(place).parent)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        for path in (made / "val2017").iterdir():
            path.rename(folder / path.name)
    else:
        (made / "val2017").rename(folder)
    reader = open_dataset("coco", root=root, split=split)
    assert reader.split == split
    assert all(reader.image_path(image_id).is_file() for image_id in reader.image_ids)
    with pytest.raises(DatasetNotFoundError, match=rf"no split 'nowhere'; it has .*\b{split}\b"):
        open_dataset("coco", root=root, split="nowhere")
    with pytest.raises(
        DatasetNotFoundError, match=rf"no split train2014; it has {split}: pass --s"
    ):
        open_dataset("coco", root=root)


def test_other_json_files_of_coco_are_no_splits(tmp_path: Path) -> None:
    root = make_coco(tmp_path, split="val2017")
    for kind in ("captions", "person_keypoints", "panoptic", "stuff", "image_info"):
        (root / "annotations" / f"{kind}_val2017.json").write_text("{}")
    with pytest.raises(DatasetNotFoundError) as raised:
        CocoReader(root, split="x")
    assert "captions" not in str(raised.value)
    assert str(raised.value).count("val2017") == 1
