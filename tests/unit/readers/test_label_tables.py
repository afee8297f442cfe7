"""Category tables: complete, in the datasets' own ids and colours, and checked when read."""

from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as cityscapes_labels
from hypothesis import given
from hypothesis import strategies as st

from iseg_cli.errors import DataError, SettingsError
from iseg_cli.label_images.palette import voc_color
from iseg_cli.readers.label_tables import label_set_names, load_label_set, read_label_set
from iseg_cli.types import Category, LabelSet

TABLES = ("cityscapes", "cityscapes-27", "coco", "cocostuff27", "context-60", "emoji-voc", "voc")


def test_all_tables_are_known_by_name() -> None:
    assert set(TABLES) <= set(label_set_names())


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_whole(name: str) -> None:
    label_set = load_label_set(name)
    assert label_set.name == name
    ids = [category.id for category in label_set.categories]
    first = 0 if label_set.background is None else 1
    assert ids == list(range(first, first + len(ids)))
    sources = [source for c in label_set.categories for source in c.source_ids or (c.id,)]
    assert len(set(sources)) == len(sources)
    for category in label_set.categories:
        assert category.prompt == " ".join(category.prompt.split())
        assert category.color != (0, 0, 0)  # that is the background's
    # A class among the background words would compete with itself in every prompt.
    prompts = {word for category in label_set.categories for word in category.prompt.split()}
    names = {category.name for category in label_set.categories}
    assert not set(label_set.background_words) & (prompts | names)


@pytest.mark.parametrize(
    ("name", "classes", "labels", "background"),
    [
        ("voc", 20, 21, 0),
        ("emoji-voc", 20, 21, 0),
        ("coco", 80, 81, 0),
        ("cityscapes", 19, 19, None),
        ("cityscapes-27", 27, 27, None),
        ("cocostuff27", 27, 27, None),
        ("context-59", 59, 60, None),
        ("context-60", 59, 60, 0),
    ],
)
def test_the_number_of_classes(name: str, classes: int, labels: int, background) -> None:
    label_set = load_label_set(name)
    assert len(label_set.categories) == classes
    assert label_set.num_classes == labels
    assert label_set.background == background


@given(st.integers(0, 255))
def test_vocs_colours_deal_out_the_bits(label: int) -> None:
    # The other way round: collecting the colour's bits again gives the label.
    color = voc_color(label)
    collected = sum(
        (color[channel] >> (7 - place) & 1) << (3 * place + channel)
        for place in range(3)
        for channel in range(3)
    )
    assert collected == label
    assert voc_color(15) == (192, 128, 128)
    assert voc_color(255) == (224, 224, 192)


@pytest.mark.parametrize("name", ["voc", "emoji-voc", "context-59", "context-60"])
def test_vocs_palette_is_vocs(name: str) -> None:
    palette = load_label_set(name).palette
    for label in (*range(21), 255):
        assert tuple(palette[label].tolist()) == voc_color(label)


def test_vocs_prompts_are_the_methods() -> None:
    prompts = {c.name: (c.prompt, c.focus) for c in load_label_set("voc").categories}
    assert prompts["aeroplane"] == ("plane", "")
    assert prompts["diningtable"] == ("dining table", "")
    assert prompts["pottedplant"] == ("potted plant", "plant")
    assert prompts["tvmonitor"] == ("tv monitor", "monitor")
    assert prompts["motorbike"] == ("motorbike", "")
    assert prompts["person"] == ("person", "")


def test_cocos_80_classes_have_their_91_ids() -> None:
    label_set = load_label_set("coco")
    sources = {c.id: (*c.source_ids, c.id)[0] for c in label_set.categories}
    missing = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    assert list(sources.values()) == [i for i in range(1, 91) if i not in missing]
    names = {(*c.source_ids, c.id)[0]: c.name for c in label_set.categories}
    assert [names[i] for i in (1, 11, 13, 44, 67, 72, 90)] == [
        "person",
        "fire hydrant",
        "stop sign",
        "bottle",
        "dining table",
        "tv",
        "toothbrush",
    ]


@pytest.mark.parametrize("name", ["cityscapes", "cityscapes-27"])
def test_cityscapes_agrees_with_its_own_scripts(name: str) -> None:
    ours = {c.source_ids: (c.id, c.name, c.color) for c in load_label_set(name).categories}
    if name == "cityscapes":
        theirs = {
            (lab.id,): (lab.trainId, lab.name, lab.color)
            for lab in cityscapes_labels
            if 0 <= lab.trainId < 255
        }
    else:
        theirs = {
            (lab.id,): (lab.id - 7, lab.name, lab.color)
            for lab in cityscapes_labels
            if 7 <= lab.id <= 33
        }
    assert ours == theirs


def test_ids_of_the_datasets_own_files() -> None:
    pets = LabelSet(
        "pets",
        (Category(1, "cat", "cat"), Category(2, "dog", "dog", source_ids=(17, 18))),
        background=0,
    )
    table = pets.from_source
    assert table[[0, 1, 17, 18]].tolist() == [0, 1, 2, 2]
    # 2 is a label, but no id of the files.
    assert (np.delete(table, [0, 1, 17, 18]) == 255).all()
    assert LabelSet("pets", pets.categories, None).from_source[0] == 255


def test_an_unknown_table_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(SettingsError, match=r"no label set 'citiscapes' \(did you mean citys"):
        load_label_set("citiscapes")
    with pytest.raises(SettingsError, match="no label set"):
        load_label_set("../configs/voc")


GOOD = "name: pets\ncategories:\n  - {id: 1, name: cat, color: [1, 2, 3]}\n"


def test_categories_may_be_those_of_another_table(tmp_path: Path) -> None:
    (tmp_path / "pets.yaml").write_text(GOOD, "utf-8")
    path = tmp_path / "pets-and-sky.yaml"
    path.write_text("name: pets-and-sky\nbackground: null\ncategories: pets\n", "utf-8")
    label_set = read_label_set(path)
    assert label_set.categories == read_label_set(tmp_path / "pets.yaml").categories
    assert (label_set.name, label_set.background) == ("pets-and-sky", None)
    path.write_text("name: pets-and-sky\ncategories: pest\n", "utf-8")
    with pytest.raises(DataError, match=r"there is no YAML file .*pest\.yaml"):
        read_label_set(path)
    path.write_text("name: pets-and-sky\ncategories: pets-and-sky\n", "utf-8")
    with pytest.raises(DataError, match="name the table itself"):
        read_label_set(path)


def test_what_a_table_may_leave_out(tmp_path: Path) -> None:
    path = tmp_path / "pets.yaml"
    path.write_text(GOOD, "utf-8")
    label_set = read_label_set(path)
    assert label_set.background == 0
    assert label_set.background_words == ()
    (cat,) = label_set.categories
    assert (cat.prompt, cat.focus, cat.source_ids) == ("cat", "", ())
    np.testing.assert_array_equal(label_set.palette[1], (1, 2, 3))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("name: pets", "nmae: pets", r"unknown key 'nmae' \(did you mean name\?\)"),
        ("name: pets\n", "", "name is missing"),
        ("color", "colour", r"category 'cat': unknown key 'colour' \(did you mean color\?\)"),
        ("id: 1", "id: 255", "category 'cat': id must be a whole number from 0 to 254"),
        ("id: 1", "id: true", "category 'cat': id must be a whole number from 0 to 254"),
        ("[1, 2, 3]", "[1, 2, 300]", "color must be three numbers from 0 to 255"),
        ("[1, 2, 3]", "[1, 2]", "color must be three numbers from 0 to 255"),
        ("name: cat", "name: cat, focus: dog", "focus 'dog' must be words of its prompt 'cat'"),
        ("name: cat", "name: cat, prompt: ' '", "name, prompt and focus must be words"),
        ("name: cat", "name: 5", "name, prompt and focus must be words"),
        (
            "name: cat",
            "name: cat, source_ids: 3",
            "source_ids must be a list of whole numb",
        ),
        ("name: pets", "name: pets\nbackground: 300", "background must be a label from 0 to 254"),
        ("name: pets", "name: pets\nbackground_words: sky", "background_words must be a list"),
        (GOOD, "name: pets\ncategories: 3\n", "categories must be a list"),
        (GOOD, "- 1\n", "must be a mapping with name, categories"),
        (GOOD, "a: [", "is no readable YAML file"),
    ],
)
def test_a_faulty_table_is_named(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = tmp_path / "pets.yaml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1), "utf-8")
    with pytest.raises(DataError, match=sentence) as raised:
        read_label_set(path)
    assert str(path) in str(raised.value)
