"""Labelers: from masks, annotations, a constant list, or a file."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import Pictures

from iseg_cli.errors import DataError, SettingsError
from iseg_cli.image_labels import (
    AnnotationLabeler,
    ConstantLabeler,
    MaskLabeler,
    choose_labeler,
    names_in_file,
    read_labels_file,
)
from iseg_cli.types import Category, LabelSet, Mask, Sample

CAT, LIGHT, DOG = (
    Category(1, "cat", "cat"),
    Category(2, "traffic light", "light"),
    Category(5, "dog", "dog"),
)
PETS = LabelSet("pets", (CAT, LIGHT, DOG))


def sample(image_id: str, file: str = "x.jpg") -> Sample:
    return Sample(image_id, Path("pictures") / file)


def all_of(label_set: LabelSet, path: Path, images: Pictures) -> dict[str, list[str]]:
    """The names of the categories that a file lists for every image."""
    labeler = read_labels_file(path, label_set, images)
    return {i: [c.name for c in labeler.labels(sample(i))] for i in images.image_ids}


@given(st.sets(st.sampled_from([0, 1, 2, 5, 255]), min_size=1))
def test_masks_name_what_occurs_in_them(labels: set[int]) -> None:
    truth = {"a": Mask(np.array([sorted(labels)], dtype=np.uint8))}
    labeler = MaskLabeler(truth.__getitem__, PETS)
    expected = tuple(c for c in PETS.categories if c.id in labels)
    assert labeler.labels(sample("a")) == expected
    assert labeler.name == "masks"


def test_without_a_background_label_0_is_a_category() -> None:
    road = Category(0, "road", "road")
    labeler = MaskLabeler(
        lambda _: Mask(np.zeros((2, 2), dtype=np.uint8)), LabelSet("streets", (road,), None)
    )
    assert labeler.labels(sample("a")) == (road,)


def test_annotations_are_passed_on() -> None:
    labeler = AnnotationLabeler({"a": (CAT,), "b": ()}.__getitem__)
    assert (labeler.labels(sample("a")), labeler.labels(sample("b")), labeler.name) == (
        (CAT,),
        (),
        "annotations",
    )


def test_one_list_for_every_image() -> None:
    labeler = ConstantLabeler([DOG, CAT])
    assert labeler.labels(sample("a")) == labeler.labels(sample("b")) == (DOG, CAT)
    assert labeler.name == "constant"


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_json_has_names_or_ids(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"x/1": ["dog", 1, "cat"], "2": [], "3": ["traffic light"]})
    images = Pictures("x/1.jpg", "2.jpg", "3.jpg")
    assert all_of(PETS, path, images) == {"x/1": ["cat", "dog"], "2": [], "3": ["traffic light"]}
    labeler = read_labels_file(path, PETS, images)
    assert (labeler.name, labeler.notes) == (f"file:{path}", ())


LINES = """# made by hand

1 dog cat
2
3,traffic light, dog
4,
5 2 1
6, "traffic light",cat
"""
NUMBERED = Pictures("1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg", "6.jpg")


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "labels"])
def test_lines_have_names_or_ids(tmp_path: Path, name: str) -> None:
    found = all_of(PETS, written(tmp_path / name, LINES), NUMBERED)
    both = ["cat", "traffic light"]
    assert list(found.values()) == [["cat", "dog"], [], ["traffic light", "dog"], [], both, both]


@pytest.mark.parametrize("content", ["\ufeff1,dog\r\n2,cat\r\n", "1 dog\r\n2 cat\r\n"])
def test_lines_written_by_a_spreadsheet(tmp_path: Path, content: str) -> None:
    images = Pictures("1.jpg", "2.jpg")
    found = all_of(PETS, written(tmp_path / "a.csv", content), images)
    assert found == {"1": ["dog"], "2": ["cat"]}


names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)


@given(st.dictionaries(names, st.lists(st.sampled_from(PETS.categories), unique=True), min_size=1))
def test_json_and_csv_say_the_same(tmp_path_factory: pytest.TempPathFactory, labels) -> None:
    folder = tmp_path_factory.mktemp("labels")
    images = Pictures(*(f"{image}.jpg" for image in labels))
    by_name = {image: [c.name for c in found] for image, found in labels.items()}
    lines = "".join(",".join([image, *found, ""]) + "\n" for image, found in by_name.items())
    from_json = read_labels_file(written(folder / "a.json", by_name), PETS, images)
    from_lines = read_labels_file(written(folder / "a.csv", lines), PETS, images)
    for image, found in labels.items():
        expected = tuple(sorted(found, key=lambda category: category.id))
        assert from_json.labels(sample(image)) == from_lines.labels(sample(image)) == expected


def test_the_names_in_a_file_are_a_folders_categories(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "1,red panda,cat\n2,cat\n3\n")
    assert names_in_file(path, NUMBERED) == ("cat", "red panda")
    with pytest.raises(DataError, match=r"a\.json, image 1: 5 is an id"):
        names_in_file(written(tmp_path / "a.json", {"1": [5]}), NUMBERED)


# --- faults --------------------------------------------------------------------------------------


def test_an_image_that_the_file_lacks_is_named(tmp_path: Path) -> None:
    images = Pictures("1.jpg", "deep/2.jpg")
    labeler = read_labels_file(written(tmp_path / "a.json", {"1": []}), PETS, images)
    with pytest.raises(DataError, match=r"a\.json says nothing about image deep/2"):
        labeler.labels(sample("deep/2"))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", {"1": ["dgo"]}, r"image 1: .* no category 'dgo' \(did you mean dog\?\)"),
        ("a.json", {"1": [3]}, "image 1: label set pets has no category with id 3; .* 1 to 5"),
        ("a.json", {"1": [1.5]}, "image 1: its labels must be a list of names or ids"),
        ("a.json", {"1": [True]}, "image 1: its labels must be a list of names or ids"),
        ("a.json", {"1": [[1]]}, "image 1: its labels must be a list of names or ids"),
        ("a.json", {"1": None}, "image 1: its labels must be a list of names or ids"),
        ("a.json", ["dog"], 'record 1: write {"image": ..., "labels": ...}'),
        ("a.json", 5, "must map image ids"),
        ("a.json", "{", "is no readable JSON file"),
        ("a.json", '{"1": "dog", "1": "cat"}', "'1' stands there twice"),
        ("a.json", '{"1": ["\\ud800"]}', "is no readable JSON file"),
        ("a.json", "[" * 100_000, "is no readable JSON file"),
        (
            "a.json",
            {"x": {"1": ["dog"]}, "y": {"1": ["cat"]}},
            r"2 lists \('x', 'y'\); choose one with",
        ),
        ("a.json", {"images": [], "annotations": []}, "pass --dataset coco --labels annotations"),
        ("a.txt", "1 dog\n2 traffic light\n", "line 2: label set pets has no category 'traffic'"),
        ("a.csv", ",dog\n", "line 1: an image must come first"),
        ("a.csv", "1," + "x" * 200_000, "line 1: field larger than field limit"),
        ("a.csv", "7,dog\n8,cat\n9,cat\n0,cat\n", "it has '7', '8', '9' and 1 more, and the split"),
        (
            "a.csv",
            "# nothing\n",
            "names no image of split all in .*pictures; the split has '1', '2'",
        ),
    ],
)
def test_a_faulty_file_is_named_with_the_image(tmp_path: Path, name, content, sentence) -> None:
    path = written(tmp_path / name, content)
    with pytest.raises(DataError, match=sentence) as raised:
        read_labels_file(path, PETS, NUMBERED)
    assert str(path) in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file of labels .*nowhere\.json"):
        read_labels_file(tmp_path / "nowhere.json", PETS, NUMBERED)
    path = tmp_path / "a.txt"
    for data, why in (
        ("1 dog".encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        ("1 dog".encode("utf-16-le"), "it holds zero bytes; save it as UTF-8"),
        ("1 café".encode("latin-1"), "save it as UTF-8"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=rf"a\.txt is no readable file of labels: .*{why}"):
            read_labels_file(path, PETS, NUMBERED)


# --- choosing ------------------------------------------------------------------------------------


def no_truth(image_id: str) -> Mask:
    raise AssertionError("not asked for")


def test_choosing_a_labeler(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"1": ["dog"]})
    assert (
        choose_labeler("masks", label_set=PETS, images=NUMBERED, ground_truth=no_truth).name
        == "masks"
    )
    annotated = {"1": (CAT,)}.__getitem__
    labeler = choose_labeler(
        "annotations", label_set=PETS, images=NUMBERED, ground_truth=no_truth, annotated=annotated
    )
    assert (labeler.name, labeler.labels(sample("1"))) == ("annotations", (CAT,))
    assert choose_labeler(f"file:{path}", label_set=PETS, images=NUMBERED).labels(sample("1")) == (
        DOG,
    )


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("tags", r"no source of labels 'tags'; there are masks, annotations, file:PATH"),
        (
            "clip",
            "labels from CLIP are no ground truth",
        ),  # a model finds them
        ("mask", r"no source of labels 'mask' \(did you mean masks\?\)"),
        ("file:", "no source of labels 'file:'"),
        ("masks:x", "no source of labels 'masks:x'"),
        ("masks", "there are no masks"),
        ("annotations", "there are no annotations"),
    ],
)
def test_a_source_that_is_not_there_is_named(spec: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        choose_labeler(spec, label_set=PETS, images=NUMBERED)
