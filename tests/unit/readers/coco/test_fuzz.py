"""Whatever a JSON holds, reading it gives a reader, or one sentence."""

import copy
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import SIZE, box, coco_object, write_image

from iseg_cli.errors import DataError, IsegError
from iseg_cli.readers.coco.reader import CocoReader

RUNS = {"size": list(SIZE), "counts": [0, 24, 24]}
COMPRESSED = {"size": list(SIZE), "counts": "81?g0"}  # of 48 pixels

VALID: dict[str, Any] = {
    "images": [
        {"id": 1, "file_name": "1.jpg", "height": SIZE[0], "width": SIZE[1]},
        {"id": 2, "file_name": "deep/2.jpg", "height": SIZE[0], "width": SIZE[1]},
    ],
    "annotations": [
        coco_object(1, 1, 1, box(0, 0, 4, 4), area=16),
        {**coco_object(2, 1, 2, [], area=24), "segmentation": RUNS},
        {**coco_object(3, 2, 2, [], area=24), "segmentation": COMPRESSED},
        coco_object(4, 2, 1, [], area=48, crowd=1),
    ],
    "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
}

NUMBERS = st.one_of(
    st.integers(-3, 70),
    st.floats(),
    st.sampled_from([10**400, -(2**63), 2**32, 1e300, 1e-300, 64.0, 0.5]),
)
TEXTS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["", "1", "64", "1.jpg", "../x.jpg", "/x.jpg", "C:\\x.jpg", "a\\b.jpg", "http://x/1.jpg",
         "\0", "0h0h0", "\ud800", "x" * 300, ".", "..", "deep/2.png", "1.JPG", "person",
         "background", "81?g0"]
    ),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key and index of nested values, outermost first."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*path, key)
            yield from places(value[key], (*path, key))


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """The valid file with some of its values replaced by any, deleted or doubled."""
    content = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(1, 4))):
        found = list(places(content))
        if not found:
            break
        *path, key = draw(st.sampled_from(found))
        inside: Any = content
        for step in path:
            inside = inside[step]
        change = draw(st.sampled_from(["replace", "replace", "delete", "double", "swap"]))
        if change == "replace":
            inside[key] = draw(VALUES)
        elif change == "delete":
            del inside[key]
        elif change == "double" and isinstance(inside, list):
            inside.insert(key, copy.deepcopy(inside[key]))
        else:
            others = list(inside.values()) if isinstance(inside, dict) else inside
            inside[key] = copy.deepcopy(draw(st.sampled_from(others)))
    return content if draw(st.integers(0, 20)) else draw(VALUES)


def read_all(root: Path, label_set: str) -> None:
    """Ask a reader for all it has, as a run does; what it refuses, it refuses in a sentence."""
    try:
        reader = CocoReader(root, split="own", label_set=label_set)
    except IsegError as error:
        assert_sentence(error)
        return
    part = reader.part(reader.image_ids)
    for note in (*reader.notes, *reader.annotation_notes, *reader.refused.values()):
        assert_sentence(note)
    assert reader.source_ids is not None
    assert set(reader.source_ids.images) == set(reader.image_ids)
    json.dumps([*reader.source_ids.images.values(), *reader.source_ids.classes.values()]).encode()
    for image_id in reader.image_ids:
        assert isinstance(part.image_path(image_id), Path)
        try:
            truth = part.ground_truth(image_id)
            assert set(truth.present()) <= {*reader.label_set.names, 255}
        except DataError as error:
            assert_sentence(error)
        try:
            found = part.annotated(image_id)
            assert all(category in reader.label_set.categories for category in found)
        except DataError as error:
            assert_sentence(error)


def assert_sentence(message: object) -> None:
    text = str(message)
    text.encode()
    assert text
    assert "\n" not in text
    assert len(text) < 2000


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        write_image(Path(folder) / "own" / "1.jpg")
        write_image(Path(folder) / "own" / "deep" / "2.jpg")
        (Path(folder) / "annotations").mkdir()
        yield Path(folder)


@settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(content=mutated(), label_set=st.sampled_from(["coco", "from-json"]))
def test_any_json_gives_a_reader_or_a_sentence(root: Path, content: Any, label_set: str) -> None:
    path = root / "annotations" / "instances_own.json"
    path.write_text(json.dumps(content), "utf-8")
    read_all(root, label_set)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    content=st.binary(max_size=40)
    | st.sampled_from([b"[" * 100_000, b"1" * 10_000, b"\xff\xfe{", b'{"images": NaN}'])
)
def test_any_bytes_give_a_reader_or_a_sentence(root: Path, content: bytes) -> None:
    (root / "annotations" / "instances_own.json").write_bytes(content)
    read_all(root, "coco")
