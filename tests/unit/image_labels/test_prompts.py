"""Labels from the prompts of synthetic images: whole words, plurals, the longest name."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import Pictures

from iseg_cli.errors import DataError, SettingsError
from iseg_cli.image_labels import choose_labeler, read_prompts_file
from iseg_cli.readers.folder import label_set_of
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.types import LabelSet, Sample

PETS = label_set_of(["dog", "hot dog", "person", "knife", "city", "bus", "bus stop", "cat"])


def names_in(tmp_path: Path, prompt: str, label_set: LabelSet = PETS) -> list[str]:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"a": prompt}), "utf-8")
    labeler = read_prompts_file(path, label_set, Pictures("a.png"))
    return [category.name for category in labeler.labels(Sample("a", Path("a.png")))]


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("a photograph of a dog", ["dog"]),
        ("A DOG, and a cat!", ["dog", "cat"]),
        ("cat and dog", ["dog", "cat"]),  # in the order of the label set
        ("two dogs", ["dog"]),
        ("dogged cattle in a doghouse", []),
        ("a hot dog on a plate", ["hot dog"]),
        ("a dog eats a hot  dog", ["dog", "hot dog"]),
        ("hot dogs", ["hot dog"]),
        ("people with knives in cities", ["person", "knife", "city"]),
        ("three buses", ["bus"]),
        ("a bus stop", ["bus stop"]),
        ("a bus at a bus stop", ["bus", "bus stop"]),
        ("a dog-like cat", ["dog", "cat"]),
        ("the dog's bowl", ["dog"]),
        ("an empty room", []),
    ],
)
def test_whole_words(tmp_path: Path, prompt: str, names: list[str]) -> None:
    assert names_in(tmp_path, prompt) == names


def test_a_table_is_looked_for_by_its_names_and_its_words(tmp_path: Path) -> None:
    voc = load_label_set("voc")
    prompt = "an aeroplane and a plane over a dining table with potted plants and a diningtable"
    assert names_in(tmp_path, prompt, voc) == ["aeroplane", "diningtable", "pottedplant"]
    assert names_in(tmp_path, "people", load_label_set("coco")) == ["person"]


@given(names=st.sets(st.sampled_from([c.name for c in load_label_set("voc").categories])))
def test_every_class_of_voc_is_found_in_its_own_words(tmp_path_factory, names: set[str]) -> None:
    voc = load_label_set("voc")
    chosen = [c for c in voc.categories if c.name in names]
    prompt = "a photograph of " + " and ".join(c.prompt for c in chosen)
    expected = [c.name for c in chosen]
    assert names_in(tmp_path_factory.mktemp("prompts"), prompt, voc) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("prompts.json", '{"a": "a dog, a cat", "b.png": "nobody"}'),
        ("prompts.csv", '# made elsewhere\na,"a dog, a cat"\nb.png, nobody\n'),
        ("prompts.csv", "a, a dog, a cat\n\nb.png,nobody\n"),
        ("prompts.csv", "\ufefffile_name,text\r\na.png,a dog with a cat\r\nb.png,nobody\r\n"),
        ("prompts.csv", "image;prompt\na;a dog, a cat\nb;nobody\n"),
        ("prompts.tsv", "a\ta dog, a cat\nb\tnobody\n"),
        (
            "metadata.jsonl",
            '{"file_name": "a.png", "text": "a dog, a cat"}\n{"file": "b.png", "text": "no"}\n',
        ),
        (
            "prompts.json",
            '[{"image": "a", "prompt": "a dog, a cat"}, {"image": "b", "prompt": "no"}]',
        ),
        ("prompts.txt", '"a.png" a dog, a cat\nb\tnobody\n'),
        ("prompts.txt", "a a dog, a cat\nb.png nobody\n"),
    ],
)
def test_every_kind_of_file(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    labeler = choose_labeler(
        f"prompts:{path}", label_set=PETS, images=Pictures("a.png", "deep/b.png", "c.png")
    )
    assert labeler.name == f"prompts:{path}"
    assert [c.name for c in labeler.labels(Sample("a", Path("x/a.png")))] == ["dog", "cat"]
    assert labeler.labels(Sample("deep/b", Path("deep/b.png"))) == ()
    with pytest.raises(DataError, match=rf"{name} says nothing about image c; add it"):
        labeler.labels(Sample("c", Path("c.png")))


# --- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("prompts.json", "{", "no readable JSON"),
        ("prompts.json", '["a dog"]', 'record 1: write {"image"'),
        ("prompts.json", '{"a": ["a dog"]}', "must map images to their prompts"),
        ("prompts.csv", "a\n", "line 1: write an image and its prompt"),
        ("prompts.csv", ",a dog\n", "line 1: write an image"),
        ("prompts.txt", "# ids\na dog\na cat\n", "line 3: image a stands there twice"),
        ("prompts.txt", "alone\n", "line 1: write an image"),
    ],
)
def test_faults_are_named(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=sentence) as raised:
        read_prompts_file(path, PETS, Pictures("a.png"))
    assert str(path) in str(raised.value)


def test_a_missing_file_and_missing_categories_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file of prompts"):
        read_prompts_file(tmp_path / "none.json", PETS, Pictures("a.png"))
    with pytest.raises(DataError, match="pass --categories or --label-set"):
        read_prompts_file(tmp_path / "none.json", LabelSet("folder", ()), Pictures("a.png"))
    with pytest.raises(
        SettingsError, match="there are masks, annotations, file:PATH, prompts:PATH"
    ):
        choose_labeler("prompts", label_set=PETS, images=Pictures("a.png"))


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no readable file of prompts"):
        read_prompts_file(path, PETS, Pictures("a.png"))
