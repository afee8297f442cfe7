"""Reads the list of a split: a text file with an image on each line."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from iseg_cli.errors import DataError
from iseg_cli.files.text import numbered_lines, read_text
from iseg_cli.readers.file_kinds import IMAGE_SUFFIXES
from iseg_cli.readers.files_by_stem import FilesByStem
from iseg_cli.types import nfc

_FLAGS = ("1", "0", "-1")
"""The flags behind the ids in VOC's lists of a class: present, difficult, absent."""


def read_ids(path: Path, images: FilesByStem | None = None) -> list[str]:
    """Return the image ids of a list, in its sequence.

    A line holds an id or a file name, with or without quotes and folder. Further words behind it,
    such as the mask, are skipped. Comments (`#`) and images with VOC's flag -1 are left out. If a
    line has several readings, the one that is the name of an image wins.

    Args:
        path: the list.
        images: the files of the folder of images; None does not compare names with files.

    Raises:
        DataError: the list cannot be read; the message has the file.
    """
    ids = []
    for _, line in numbered_lines(read_text(path, "list of images")):
        image_id = _id_of(line, images)
        if image_id is not None:
            ids.append(image_id)
    return ids


def _id_of(line: str, images: FilesByStem | None) -> str | None:
    """Return the id of a line; None for a comment or for an image with the flag -1."""
    for name, rest in _readings(line):
        for candidate in _names(name, images):
            if images is not None and (found := images.find(candidate)) is not None:
                return None if rest == "-1" else _without_ending(candidate, found, images)
    if line.startswith("#"):
        return None
    name, rest = _likeliest(line)
    return None if rest == "-1" else _stem(name) or None


def _without_ending(name: str, found: Path, images: FilesByStem) -> str:
    """Return the id of a name; `a.jpg` is the id of the file `a.jpg.jpg`."""
    stem = images.split(found.name)[0]
    return name if nfc(name.rpartition("/")[2]) == nfc(stem) else images.split(name)[0]


def _readings(line: str) -> Iterator[tuple[str, str]]:
    """Yield possible names of a line, each with the rest: all, the quoted text, the first words."""
    yield line, ""
    if line[0] in "\"'":
        yield _unquoted(line)
    words = line.split()
    # More words are likelier: the name in `my cat 1` is `my cat`.
    for count in range(len(words) - 1, 0, -1):
        yield " ".join(words[:count]), " ".join(words[count:])


def _unquoted(line: str) -> tuple[str, str]:
    """Return the text in the quotes at the beginning of a line, and the rest behind them."""
    try:
        cells = next(csv.reader([line], delimiter=" ", quotechar=line[0]))
    except csv.Error:
        return line, ""
    return cells[0].strip(), " ".join(cells[1:]).strip()


def _likeliest(line: str) -> tuple[str, str]:
    """Return the likeliest name and the rest of a line without the name of a known image.

    A flag, a number or a path may follow an id. Any other word belongs to a name with blanks.
    """
    if line[0] in "\"'":
        return _unquoted(line)
    first, *rest = line.split()
    if all(word in _FLAGS or word.isdecimal() or "/" in word or "." in word for word in rest):
        return first, " ".join(rest)
    return line, ""


def _names(name: str, images: FilesByStem | None) -> Iterator[str]:
    """Yield a name, the name with forward slashes, and the part below the folder of images."""
    yield name
    plain = name.replace("\\", "/")
    while plain.startswith(("./", "/")):
        plain = plain.removeprefix(".").lstrip("/")
    yield plain
    if images is not None:
        parts = plain.split("/")
        for depth, part in enumerate(parts):
            if part == images.folder.name:
                yield "/".join(parts[depth + 1 :])


def _stem(name: str) -> str:
    """Return the id of a name that no image has, for the message about it."""
    stem, ending = os.path.splitext(name)
    stem = stem if ending.lower() in IMAGE_SUFFIXES else name
    return stem.rpartition("/")[2] if stem.startswith("/") else stem


def missing_image(path: Path, image_id: str, folder: Path) -> DataError:
    """Return the error of an image that a list has and the folder of images lacks."""
    return DataError(
        f"{path} lists {image_id}, but {folder} has no such image; add it, or remove the line"
    )
