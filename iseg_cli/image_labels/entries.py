"""The entries of a file of labels, before names are looked up."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Label = str | int

IMAGE_WORDS = r"(image|img|file|photo|picture|path|name|id)([ _-]?(id|name|file|path))?s?"
LABEL_WORDS = r"(label|class(es)?|categor(y|ies)|tag|object|target)([ _-]?(id|name))?s?([ _-]?\d+)?"
PROMPT_WORDS = r"(prompt|caption|text|description)s?"


def is_word(text: str, words: str) -> bool:
    """Tell whether a heading matches some words, such as `IMAGE_WORDS`, in any case."""
    return re.fullmatch(words, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text.strip()), re.I) is not None


@dataclass(frozen=True)
class Entry:
    """The labels that a file has for one image, or some of them.

    Attributes:
        where: its line, for errors.
        image: the image's name in the file.
        labels: names and ids.
    """

    where: str
    image: str
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class Entries:
    """All entries of a file, and its heading if it has one."""

    entries: tuple[Entry, ...]
    heading: str | None = None


def record_of(item: Mapping[str, object], words: str) -> tuple[str, object] | None:
    """Return the image and the value under the first heading that matches some words, or None."""
    image = next((item[k] for k in item if is_word(k, IMAGE_WORDS) and _names(item[k])), None)
    key = next((k for k in item if is_word(k, words)), None)
    return None if image is None or key is None else (str(image), item[key])


def split_cell(cell: str, is_class: Callable[[str], bool]) -> list[str]:
    """Return the labels in a cell: the class that it names, otherwise its parts.

    Example:
        >>> split_cell("dog|cat", is_class=lambda name: name in ("dog", "cat"))
        ['dog', 'cat']
        >>> split_cell("dog cat", is_class=lambda name: name in ("dog", "cat"))
        ['dog', 'cat']
    """
    cell = cell.strip()
    if not cell or is_class(cell):
        return [cell] if cell else []
    if cell[0] == "[" and cell[-1] == "]":
        cell = ",".join(part.strip().strip("'\"") for part in cell[1:-1].split(","))
    parts = [part.strip() for part in re.split(r"[|;,]", cell)]
    if len(parts) == 1 and len(words := cell.split()) > 1 and all(map(is_class, words)):
        parts = words
    return [part for part in parts if part]


def _names(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
