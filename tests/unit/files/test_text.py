"""Text files as users bring them: byte order marks, line ends, encodings, JSON."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iseg_cli.errors import DataError
from iseg_cli.files.text import numbered_lines, parse_json, read_text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"cat\r\ndog\n", "cat\r\ndog\n"),
        (b"\xef\xbb\xbfcat", "cat"),  # Notepad's mark of UTF-8
        (b"\xef\xbb\xbf", ""),
        ("süß 雪".encode(), "süß 雪"),
        (b"", ""),
    ],
)
def test_text_has_no_byte_order_mark(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "file").write_bytes(data)
    assert read_text(tmp_path / "file", "list of images") == text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("cat".encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        ("cat".encode("utf-16-be"), "it holds zero bytes; save it as UTF-8"),
        ("süß".encode("latin-1"), "invalid start byte; save it as UTF-8"),
        (b"cat\0dog", "it holds zero bytes; save it as UTF-8"),
    ],
)
def test_other_encodings_are_one_sentence(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(DataError) as error:
        read_text(path, "list of images")
    assert str(error.value).startswith(f"{path} is no readable list of images: ")
    assert str(error.value).endswith(reason)


def test_files_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^there is no list of images .*absent$"):
        read_text(tmp_path / "absent", "list of images")
    with pytest.raises(DataError, match=r"is no readable list of images: .*Is a directory"):
        read_text(tmp_path, "list of images")
    with pytest.raises(DataError, match=r"is no readable list of images: .*null"):
        read_text(Path("a\0b"), "list of images")


def test_lines_are_stripped_and_keep_their_numbers() -> None:
    text = "cat\r\n\r\n  dog \rbus\n\t\nhorse"  # line ends of Windows, of old Macs and of Unix
    assert list(numbered_lines(text)) == [(1, "cat"), (3, "dog"), (4, "bus"), (6, "horse")]
    assert list(numbered_lines("")) == []


@given(st.lists(st.text(st.characters(exclude_categories=("C", "Z")), max_size=5), max_size=6))
def test_every_line_with_text_is_found(lines: list[str]) -> None:
    expected = [(number, line) for number, line in enumerate(lines, start=1) if line]
    for end in ("\n", "\r\n", "\r"):
        assert list(numbered_lines(end.join(lines))) == expected


def test_json_is_read_and_its_objects_may_be_made() -> None:
    text = '{"a": 1, "a": [2, {"b": null}]}'
    assert parse_json(text, Path("x.json")) == {"a": [2, {"b": None}]}
    pairs = parse_json(text, Path("x.json"), of_object=list)
    assert pairs == [("a", 1), ("a", [2, [("b", None)]])]  # both of the equal keys


@pytest.mark.parametrize(
    "text", ["", "{", "[1,]", "{'a': 1}", "[" * 100_000, r'["\ud800"]'],
    ids=["empty", "cut", "comma", "quotes", "depth", "half a surrogate pair"],
)  # fmt: skip
def test_other_text_is_one_sentence(text: str) -> None:
    with pytest.raises(DataError, match=r"^x\.json is no readable JSON file: "):
        parse_json(text, Path("x.json"))
