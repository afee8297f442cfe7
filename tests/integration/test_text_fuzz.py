"""Whatever a text file holds, its reader returns something or says one sentence.

`ISEG_FUZZ=10000` tries so many inputs of each kind, at random.
"""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import make_voc
from pictures import Pictures

from iseg_cli.errors import IsegError
from iseg_cli.image_labels import names_in_file, read_labels_file, read_prompts_file
from iseg_cli.readers.folder import label_set_of
from iseg_cli.readers.image_lists import read_ids
from iseg_cli.readers.label_tables import load_label_set, read_label_set
from iseg_cli.readers.voc import VocReader
from iseg_cli.readers.voc_annotations import object_names
from iseg_cli.types import Sample

IMAGES = Pictures("x.jpg", "my cat 1.png", "zoo/x.JPG", "0.jpg", "#1.jpg")
INPUTS = int(os.environ.get("ISEG_FUZZ", "200"))
fuzz = settings(
    max_examples=INPUTS,
    derandomize="ISEG_FUZZ" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def one_of_all(*groups: list[str]) -> st.SearchStrategy[str]:
    """One text of any group."""
    return st.sampled_from([text for group in groups for text in group])


words = one_of_all(
    ["x", "x.jpg", "zoo/x", "zoo\\x.jpg", "my cat 1", "0", "1", "-1", "15", "21", "1.0", "1e9"],
    ["image", "label", "filename", "class", "id", "background", "_background_", "cat", "Cat"],
    ["dog", "plane", "traffic light", "#1", "..", "../x", "/", "", " ", "9" * 30, "\ufeff"],
    ["\u0130", "\u1e9e", "\ufb01", "e\u0301", "\u00b2", "\u0661", "True", "x" * 300],
)
gaps = st.sampled_from([" ", ",", ";", "\t", "|", '"', "'", "\n", "\r\n", "\r", "\x0b", "\u2028"])
lines = st.lists(st.one_of(words, gaps, st.text(max_size=4)), max_size=40).map("".join)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words, st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(words, st.text(max_size=4)), inner, max_size=4),
    ),
    max_leaves=12,
)
mappings = st.dictionaries(words, st.lists(words, max_size=3), max_size=5)
texts_of_json = st.one_of(values, mappings).map(json.dumps)
blobs = st.one_of(
    lines.map(lambda text: text.encode("utf-8", "surrogatepass")),
    texts_of_json.map(str.encode),
    st.binary(max_size=60),
    lines.map(lambda text: text.encode("utf-16", "surrogatepass")),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@given(data=blobs, name=st.sampled_from(["l.txt", "l.csv", "l.json", "l.jsonl", "l.tsv", "l"]))
@fuzz
def test_files_of_labels(folder: Path, data: bytes, name: str) -> None:
    path = folder / name
    path.write_bytes(data)
    for label_set in (load_label_set("voc"), label_set_of(["cat", "Traffic  Light", "0"])):
        try:
            labeler = read_labels_file(path, label_set, IMAGES)
        except IsegError:
            continue
        ids = set(IMAGES.image_ids)
        assert all(isinstance(note, str) and note.encode() for note in labeler.notes)
        for image_id in ids:
            try:
                assert set(labeler.labels(Sample(image_id, path))) <= set(label_set.categories)
            except IsegError as error:
                assert "says nothing about" in str(error)  # noqa: PT017
    try:
        names = names_in_file(path, IMAGES)
    except IsegError:
        return
    try:
        label_set = label_set_of(names)
    except IsegError as error:
        pytest.fail(f"{names}: {error}")
    assert all(category.name.encode().strip() for category in label_set.categories)


@given(data=blobs, name=st.sampled_from(["p.txt", "p.csv", "p.json", "p.jsonl", "p.tsv"]))
@fuzz
def test_files_of_prompts(folder: Path, data: bytes, name: str) -> None:
    path = folder / name
    path.write_bytes(data)
    try:
        read_prompts_file(path, load_label_set("voc"), IMAGES)
    except IsegError:
        return


@given(data=blobs)
@fuzz
def test_lists_of_images(folder: Path, data: bytes) -> None:
    root = folder / "VOCdevkit" / "VOC2012"
    if not root.exists():
        make_voc(folder)
    path = root / "ImageSets" / "Segmentation" / "fuzz.txt"
    path.write_bytes(data)
    try:
        reader = VocReader(root, split="fuzz")
    except IsegError:
        return
    assert set(reader.image_ids).isdisjoint(reader.refused)
    for image_id in reader.image_ids:
        assert image_id.strip()
        try:
            reader.sample(image_id)
            reader.ground_truth(image_id)
        except IsegError:
            continue
    try:
        assert all(read_ids(path))
    except IsegError:
        return


yaml_words = one_of_all(
    ["name", "categories", "id", "color", "prompt", "focus", "source_ids", "synonyms"],
    [
        "background",
        "background_words",
        ": ",
        "- ",
        "\n",
        "  ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "1",
        "255",
        "-1",
    ],
    ["0", "[1, 2, 3]", "cat", "null", "true", "2020-13-45", "!!int x", "!!bool x", "!!timestamp x"],
    ["&a ", "*a", "<<: ", '"\\ud800"', "? ", "\t", "fuzz", "../x", "/", "~", "1e999", ".inf"],
)
texts_of_yaml = st.one_of(
    st.lists(st.one_of(yaml_words, st.text(max_size=3)), max_size=40).map("".join),
    st.builds(
        lambda head, rows: "name: pets\ncategories:\n" + "".join(rows) + head,
        st.sampled_from(["", "background: null\n", "background: 3\n", "background_words: [a]\n"]),
        st.lists(
            st.builds(
                "  - {{id: {}, name: {}, color: {}, {}: {}}}\n".format,
                st.sampled_from(["0", "1", "2", "254", "255", "-1", "x", "1.5", "true"]),
                st.sampled_from(["cat", "Cat", "dog", "''", "5", "null", "[a]", "background"]),
                st.sampled_from(["[1, 2, 3]", "[1, 2]", "[300, 0, 0]", "red", "[1, 2, true]"]),
                st.sampled_from(["prompt", "focus", "source_ids", "synonyms", "colour"]),
                st.sampled_from(["cat", "''", "[1]", "[300]", "[-1]", "[a, b]", "5", "null"]),
            ),
            max_size=4,
        ),
    ),
)


@given(text=texts_of_yaml)
@fuzz
def test_tables_of_categories(folder: Path, text: str) -> None:
    path = folder / "fuzz.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        label_set = read_label_set(path)
    except IsegError as error:
        assert str(path.parent) in str(error)  # noqa: PT017
        return
    assert label_set.num_classes <= 255
    assert label_set.from_source.shape == label_set.palette[:, 0].shape == (256,)
    assert all(label_set.by_name(c.name) == c for c in label_set.categories)
    assert all(c.name.encode() and c.prompt.encode() for c in label_set.categories)


tags = one_of_all(
    ["<annotation>", "</annotation>", "<object>", "</object>", "<name>", "</name>", "<part>"],
    ["</part>", "cat", "Plane", "<object/>", "&amp;", "&x;", "&#0;", "&#x1F600;", " ", "\n"],
    ["<?xml version='1.0'?>", "<?xml version='1.0' encoding='gbk'?>", "<!-- -->"],
    ["<?xml version='1.0' encoding='utf-7'?>", "<!DOCTYPE a>", "<!DOCTYPE a [<!ENTITY x 'y'>]>"],
    ["<object><name>dog</name></object>", "<object><name>Tv  Monitor</name></object>"],
    ["<![CDATA[dog]]>", "]]>"],
)


@given(
    data=st.one_of(
        st.lists(tags, max_size=20).map(lambda parts: "".join(parts).encode()),
        st.lists(tags, max_size=20).map(
            lambda parts: f"<annotation>{''.join(parts)}</annotation>".encode()
        ),
        st.binary(max_size=40),
    )
)
@fuzz
def test_annotations(folder: Path, data: bytes) -> None:
    path = folder / "fuzz.xml"
    path.write_bytes(data)
    try:
        assert all(object_names(path))
    except IsegError as error:
        assert str(path) in str(error)  # noqa: PT017
