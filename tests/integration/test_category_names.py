"""Names of categories: case, blanks and Unicode forms, the background, commas without names."""

import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from iseg_cli.cli import main
from iseg_cli.cli.options import category_names
from iseg_cli.config.schema import Settings
from iseg_cli.errors import DataError, SettingsError
from iseg_cli.readers.folder import label_set_of
from iseg_cli.readers.label_tables import load_label_set, read_label_set
from iseg_cli.synthesis.image_specs import label_set_for
from iseg_cli.types import Category, LabelSet, is_background, name_key


@given(st.text(max_size=20))
def test_the_key_of_a_name_stays_and_case_and_forms_make_no_difference(name: str) -> None:
    key = name_key(name)
    assert name_key(key) == key
    assert name_key(f" {name}\t") == key
    for form in ("NFC", "NFD"):
        assert name_key(unicodedata.normalize(form, name)) == key
    assert name_key(name.casefold()) == key


@pytest.mark.parametrize(
    ("name", "is_it"),
    [
        ("background", True),
        ("Background", True),
        ("_background_", True),
        ("__BACKGROUND__", True),
        (" background ", True),
        ("backgrounds", False),
        ("back ground", False),
        ("_", False),
    ],
)
def test_the_names_of_the_background(name: str, is_it: bool) -> None:
    assert is_background(name) is is_it


# --- looked up in a label set --------------------------------------------------------------------

CAT, BIG, PLANE = (
    Category(1, "cat", "kitten"),
    Category(2, "Cats", "big cat", synonyms=("lion", "tiger")),
    Category(3, "aeroplane", "plane", synonyms=("tiger",)),
)
ANIMALS = LabelSet("animals", (CAT, BIG, PLANE))


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("cat", CAT),
        ("CAT", CAT),
        ("cats", BIG),
        ("Cats", BIG),
        ("Kitten", CAT),
        ("big  CAT", BIG),
        ("Plane", PLANE),
        ("LION", BIG),
    ],
)
def test_names_come_before_words_and_words_before_synonyms(name: str, category: Category) -> None:
    assert ANIMALS.by_name(name) == category


def test_an_equal_name_comes_before_the_words_of_another() -> None:
    first, second = Category(1, "tv", "screen"), Category(2, "screen", "tv")
    swapped = LabelSet("swapped", (first, second))
    assert (swapped.by_name("tv"), swapped.by_name("Screen")) == (first, second)


def test_words_of_two_classes_are_refused() -> None:
    with pytest.raises(DataError, match="'Tiger' may be 'Cats' or 'aeroplane' of label set"):
        ANIMALS.by_name("Tiger")
    with pytest.raises(DataError, match=r"no category 'aeroplan' \(did you mean aeroplane\?\)"):
        ANIMALS.by_name("aeroplan")


@pytest.mark.parametrize("table", ["voc", "coco", "context-59", "cityscapes-27", "cocostuff27"])
def test_every_word_of_a_shipped_table_names_its_class(table: str) -> None:
    label_set = load_label_set(table)
    for category in label_set.categories:
        for word in (category.name, category.name.upper(), *category.synonyms):
            assert label_set.by_name(word) == category
        names = {name_key(other.name) for other in label_set.categories if other != category}
        if name_key(category.prompt) not in names:
            assert label_set.by_name(category.prompt) == category


def test_a_table_has_no_two_classes_of_one_name_and_no_background(tmp_path: Path) -> None:
    path = tmp_path / "pets.yaml"
    row = "  - {{id: {}, name: {}, color: [1, 2, 3]}}\n"
    head = "name: pets\ncategories:\n"
    path.write_text(head + row.format(1, "Cat") + row.format(2, "cat"), "utf-8")
    with pytest.raises(DataError, match=r"pets\.yaml: .* two categories of one id or one name"):
        read_label_set(path)
    path.write_text(head + row.format(1, "_background_"), "utf-8")
    with pytest.raises(DataError, match=r"pets\.yaml: '_background_' is no category"):
        read_label_set(path)
    path.write_text("background: null\n" + path.read_text("utf-8"), "utf-8")
    assert read_label_set(path).categories[0].name == "_background_"


# --- named by a user -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("dog, cat", ("dog", "cat")),
        ("dog, cat,", ("dog", "cat")),
        (",dog,, cat , ", ("dog", "cat")),
        ("traffic light", ("traffic light",)),
        ("dog\ncat\r\n", ("dog", "cat")),
        ("'dog', \"traffic light\"", ("dog", "traffic light")),
        ("dog's toy, '", ("dog's toy", "'")),
        (None, None),
    ],
)
def test_empty_ends_are_no_categories(value, names) -> None:
    assert category_names(None, None, value) == names  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["", ",", " , ,"])
@pytest.mark.parametrize(
    "command",
    [
        ["generate", "--dataset", "folder"],
        ["tag", "pictures"],
        ["evaluate", "masks", "--dataset", "folder"],
        ["synthesize"],
    ],
)
def test_commas_alone_are_said(command: list[str], value: str) -> None:
    done = CliRunner().invoke(main, [*command, "--categories", value])
    assert done.exit_code == 2
    assert 'names no category; write names such as "cat, dog"' in done.output


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (["dog", "cat"], ("dog", "cat")),
        ("dog, 'cat',", ("dog", "cat")),
        (("dog",), ("dog",)),
        (",", None),
        (None, None),
    ],
)
def test_settings_take_a_list_or_a_text_of_names(value, names) -> None:
    assert Settings(categories=value).categories == names


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (["dog", True], "categories: True is no text; write quotes around numbers, yes and no"),
        ([3], "categories: 3 is no text"),
        ({"dog": 1}, "categories: write a list of names"),
        (5, "categories: write a list of names"),
        ("dog;cat", "'dog;cat' is no name of a category"),
    ],
)
def test_settings_that_are_no_names_are_said(value, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Settings(categories=value)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("dog;cat", "'dog;cat' is no name of a category; write names such as"),
        ("[dog, cat]", "'[dog' is no name of a category"),
        ("dog|cat", "'dog|cat' is no name of a category"),
        ("Dog, dog", "the category 'dog' was named twice, also as 'Dog'"),
        ("cat,__background__", "'__background__' is no category"),
        (",".join(map(str, range(300))), "300 categories, but a mask has labels for 254"),
    ],
)
def test_what_no_command_takes_is_said(tmp_path: Path, names: str, sentence: str) -> None:
    from layouts import make_folder

    root = str(make_folder(tmp_path))
    for command in (
        ["generate", "--dataset", "folder", "--root", root, "--out", str(tmp_path / "o")],
        ["tag", root, "--out", str(tmp_path / "o.json")],
        ["synthesize", "--model", "tiny", "--out", str(tmp_path / "s")],
    ):
        done = CliRunner().invoke(main, [*command, "--categories", names])
        assert done.exit_code == 2, command
        assert sentence in done.output


def test_254_categories_are_not_too_many() -> None:
    assert label_set_of([f"class {n}" for n in range(254)]).categories[-1].id == 254
    with pytest.raises(SettingsError, match="there are 255 categories"):
        label_set_of([f"class {n}" for n in range(255)])


def test_synthetic_images_find_classes_whatever_their_case() -> None:
    voc = load_label_set("voc")
    made = label_set_for(["Cat", "Plane"], voc)
    assert [category.id for category in made.categories] == [1, 8]
    with pytest.raises(SettingsError, match="'aeroplane' was named twice"):
        label_set_for(["plane", "Aeroplane"], voc)
