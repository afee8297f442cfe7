"""Reads text that users write: files in UTF-8, lines, lists of names, JSON."""

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from iseg_cli.errors import DataError

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path, kind: str) -> str:
    """Return the content of a text file, without its byte order mark.

    Args:
        path: the file, in UTF-8.
        kind: the kind of the file in messages: `file of labels`, `list of images`.

    Raises:
        DataError: the file is missing, cannot be read or is not in UTF-8.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"there is no {kind} {path}") from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise DataError(f"{path} is no readable {kind}: {error}") from error
    if data.startswith(_UTF_16):
        raise DataError(f"{path} is no readable {kind}: it is UTF-16; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no readable {kind}: {error}; save it as UTF-8") from error
    if "\0" in text:
        raise DataError(f"{path} is no readable {kind}: it holds zero bytes; save it as UTF-8")
    return text


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line that is not blank, stripped, with its number from 1 on."""
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if stripped := line.strip():
            yield number, stripped


def parse_json(
    text: str, path: Path, *, of_object: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Return the value of a JSON text; `of_object` makes each object from its pairs.

    DataError if the text is no JSON, or holds half a surrogate pair, which no file can hold.
    """
    try:
        content = json.loads(text, object_pairs_hook=of_object)
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no readable JSON file: {error}") from error
    return content


def split_names(text: str) -> tuple[str, ...]:
    """Return the names between commas or line ends, without their quotes; empty names are dropped.

    ValueError if a name holds a sign that separates names elsewhere: `;`, `|`, a bracket.

    Example:
        >>> split_names("cat, 'traffic light',")
        ('cat', 'traffic light')
    """
    names = tuple(filter(None, (_unquoted(name) for name in re.split(r"[,\r\n]", text))))
    for name in names:
        if re.search(r"[;|\[\]{}]", name):
            raise ValueError(f'{name!r} is no name of a category; write names such as "cat, dog"')
    return names


def _unquoted(name: str) -> str:
    name = name.strip()
    is_quoted = len(name) > 1 and name[0] == name[-1] and name[0] in "\"'"
    return name[1:-1].strip() if is_quoted else name
