"""Image-level labels: from masks, annotations, one list or a file of either kind."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iseg_cli.errors import DataError, SettingsError
from iseg_cli.labels import (
    choose,
    constant,
    from_annotations,
    from_file,
    from_masks,
    names_in_file,
)
from iseg_cli.samples import Category, LabelSet, Mask, Sample

CAT, LIGHT, DOG = (
    Category(1, "cat", "cat"),
    Category(2, "traffic light", "light"),
    Category(5, "dog", "dog"),
)
PETS = LabelSet("pets", (CAT, LIGHT, DOG))


def sample(image_id: str, file: str = "x.jpg") -> Sample:
    return Sample(image_id, Path("pictures") / file)


class Pictures:
    """A split of images without files: ids are their paths without ending."""

    def __init__(self, *names: str, root: str = "/data/pictures", split: str = "all") -> None:
        self.root, self.split = Path(root), split
        self._files = {name.rpartition(".")[0] or name: self.root / name for name in names}
        self.image_ids = tuple(self._files)

    def image_path(self, image_id: str) -> Path:
        return self._files[image_id]


def all_of(label_set: LabelSet, path: Path, images: Pictures) -> dict[str, list[str]]:
    """What a file gives for every image, by name."""
    source = from_file(path, label_set, images)
    return {i: [c.name for c in source(sample(i))] for i in images.image_ids}


@given(st.sets(st.sampled_from([0, 1, 2, 5, 255]), min_size=1))
def test_masks_name_what_occurs_in_them(labels: set[int]) -> None:
    truth = {"a": Mask(np.array([sorted(labels)], dtype=np.uint8))}
    source = from_masks(truth.__getitem__, PETS)
    expected = tuple(c for c in PETS.categories if c.id in labels)
    assert source(sample("a")) == expected
    assert source.name == "masks"


def test_without_a_background_label_0_is_a_category() -> None:
    road = Category(0, "road", "road")
    source = from_masks(
        lambda _: Mask(np.zeros((2, 2), dtype=np.uint8)), LabelSet("streets", (road,), None)
    )
    assert source(sample("a")) == (road,)


def test_annotations_are_passed_on() -> None:
    source = from_annotations({"a": (CAT,), "b": ()}.__getitem__)
    assert (source(sample("a")), source(sample("b")), source.name) == ((CAT,), (), "annotations")


def test_one_list_for_every_image() -> None:
    source = constant([DOG, CAT])
    assert source(sample("a")) == source(sample("b")) == (DOG, CAT)
    assert source.name == "constant"


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_json_has_names_or_ids(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"x/1": ["dog", 1, "cat"], "2": [], "3": ["traffic light"]})
    source = from_file(path, PETS)
    assert source(sample("x/1")) == (CAT, DOG)
    assert source(sample("2")) == ()
    assert source(sample("3")) == (LIGHT,)
    assert source.name == f"file:{path}"


LINES = """# made by hand

1 dog cat
2
3,traffic light, dog
4,
5 2 1
6, "traffic light",cat
"""


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "labels"])
def test_lines_have_names_or_ids(tmp_path: Path, name: str) -> None:
    source = from_file(written(tmp_path / name, LINES), PETS)
    found = [source(sample(str(number))) for number in range(1, 7)]
    assert found == [(CAT, DOG), (), (LIGHT, DOG), (), (CAT, LIGHT), (CAT, LIGHT)]


@pytest.mark.parametrize("content", ["\ufeff1,dog\r\n2,cat\r\n", "1 dog\r\n2 cat\r\n"])
def test_lines_written_by_a_spreadsheet(tmp_path: Path, content: str) -> None:
    source = from_file(written(tmp_path / "a.csv", content), PETS)
    assert (source(sample("1")), source(sample("2"))) == ((DOG,), (CAT,))


def test_an_image_may_be_called_by_its_files_name(tmp_path: Path) -> None:
    source = from_file(written(tmp_path / "a.txt", "1.jpg dog\n"), PETS)
    assert source(sample("1", "1.jpg")) == (DOG,)


names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)


@given(st.dictionaries(names, st.lists(st.sampled_from(PETS.categories), unique=True)))
def test_json_and_csv_say_the_same(tmp_path_factory: pytest.TempPathFactory, labels) -> None:
    folder = tmp_path_factory.mktemp("labels")
    by_name = {image: [c.name for c in found] for image, found in labels.items()}
    lines = "".join(",".join([image, *found, ""]) + "\n" for image, found in by_name.items())
    from_json = from_file(written(folder / "a.json", by_name), PETS)
    from_lines = from_file(written(folder / "a.csv", lines), PETS)
    for image, found in labels.items():
        expected = tuple(sorted(found, key=lambda category: category.id))
        assert from_json(sample(image)) == from_lines(sample(image)) == expected


def test_the_names_in_a_file_are_a_folders_categories(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "1,red panda,cat\n2,cat\n3\n")
    assert names_in_file(path) == ("cat", "red panda")
    with pytest.raises(DataError, match=r"a\.json, image 1: 5 is an id"):
        names_in_file(written(tmp_path / "a.json", {"1": [5]}))


# --- faults --------------------------------------------------------------------------------------


def test_an_image_that_the_file_lacks_is_named(tmp_path: Path) -> None:
    source = from_file(written(tmp_path / "a.json", {"1": []}), PETS)
    with pytest.raises(DataError, match=r"a\.json says nothing about image deep/2"):
        source(sample("deep/2"))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", {"1": ["dgo"]}, r"image 1: .* no category 'dgo' \(did you mean dog\?\)"),
        ("a.json", {"1": [3]}, "image 1: label set pets has no category with id 3"),
        ("a.json", {"1": [0]}, "image 1: label set pets has no category with id 0"),
        ("a.json", {"1": "dog"}, "image 1: its labels must be a list"),
        ("a.json", {"1": [1.5]}, "image 1: its labels must be a list of names or ids"),
        ("a.json", {"1": [True]}, "image 1: its labels must be a list of names or ids"),
        ("a.json", ["dog"], "must map image ids to lists of labels"),
        ("a.json", "{", "is no readable JSON file"),
        ("a.txt", "1 dog\n2 traffic light\n", "image 2: label set pets has no category 'traffic'"),
        ("a.txt", "1 dog\n1 cat\n", "line 2: image 1 stands there twice"),
        ("a.csv", ",dog\n", "line 1: an image id must come first"),
    ],
)
def test_a_faulty_file_is_named_with_the_image(tmp_path: Path, name, content, sentence) -> None:
    path = written(tmp_path / name, content)
    with pytest.raises(DataError, match=sentence) as raised:
        from_file(path, PETS)
    assert str(path) in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file of labels .*nowhere\.json"):
        from_file(tmp_path / "nowhere.json", PETS)
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"a\.txt is no readable file of labels"):
        from_file(path, PETS)


# --- choosing ------------------------------------------------------------------------------------


def no_truth(image_id: str) -> Mask:
    raise AssertionError("not asked for")


def test_choosing_a_source(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"1": ["dog"]})
    assert choose("masks", label_set=PETS, truth=no_truth).name == "masks"
    annotated = {"1": (CAT,)}.__getitem__
    source = choose("annotations", label_set=PETS, truth=no_truth, annotated=annotated)
    assert (source.name, source(sample("1"))) == ("annotations", (CAT,))
    assert choose(f"file:{path}", label_set=PETS)(sample("1")) == (DOG,)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("tags", r"no source of labels 'tags'; there are masks, annotations, file:PATH"),
        ("clip", "labels from CLIP are no truth"),  # nor a source that this function can make
        ("mask", r"no source of labels 'mask' \(did you mean masks\?\)"),
        ("file:", "no source of labels 'file:'"),
        ("masks:x", "no source of labels 'masks:x'"),
        ("masks", "there are no masks"),
        ("annotations", "there are no annotations"),
    ],
)
def test_a_source_that_is_not_there_is_named(spec: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        choose(spec, label_set=PETS)
