"""Lists of images, as datasets keep them for their splits: a text file with an image a line."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from iseg_cli.errors import DataError
from iseg_cli.files.text import numbered_lines, read_text
from iseg_cli.readers.file_kinds import IMAGE_SUFFIXES
from iseg_cli.readers.files_by_stem import Stems
from iseg_cli.types import nfc

_FLAGS = ("1", "0", "-1")
"""What VOC's lists of one class say behind an id: there, there but difficult, not there."""


def read_ids(path: Path, images: Stems | None = None) -> list[str]:
    """Return the ids of a list, in its order.

    A line may be an id or a file's name, in quotes or not, below a folder or not; what stands
    behind it, such as its mask, is passed over, and so are comments (`#`) and images that VOC's
    flag -1 says have nothing of the class. Where a name may be read in several ways, it is the one
    that an image has.

    Args:
        path: the list.
        images: the folder of the images; None where names cannot be compared with files.

    Raises:
        DataError: naming the file, if it cannot be read.
    """
    ids = []
    for _, line in numbered_lines(read_text(path, "list of images")):
        image_id = _id_of(line, images)
        if image_id is not None:
            ids.append(image_id)
    return ids


def _id_of(line: str, images: Stems | None) -> str | None:
    """Return the id in a line, None for a comment and for an image without the class."""
    for name, rest in _readings(line):
        for candidate in _names(name, images):
            if images is not None and (found := images.find(candidate)) is not None:
                return None if rest == "-1" else _without_ending(candidate, found, images)
    if line.startswith("#"):
        return None
    name, rest = _likeliest(line)
    return None if rest == "-1" else _stem(name) or None


def _without_ending(name: str, found: Path, images: Stems) -> str:
    """Return the id that a name means; `a.jpg` is one where the file is called `a.jpg.jpg`."""
    stem = images.split(found.name)[0]
    return name if nfc(name.rpartition("/")[2]) == nfc(stem) else images.split(name)[0]


def _readings(line: str) -> Iterator[tuple[str, str]]:
    """Yield what may be a line's name, and the rest: the whole line, quoted, then more words."""
    yield line, ""
    if line[0] in "\"'":
        yield _unquoted(line)
    words = line.split()
    # The more words, the likelier: `my cat 1` is no `my`.
    for count in range(len(words) - 1, 0, -1):
        yield " ".join(words[:count]), " ".join(words[count:])


def _unquoted(line: str) -> tuple[str, str]:
    """Return the text in the quotes that begin a line, and the rest behind them."""
    try:
        cells = next(csv.reader([line], delimiter=" ", quotechar=line[0]))
    except csv.Error:
        return line, ""
    return cells[0].strip(), " ".join(cells[1:]).strip()


def _likeliest(line: str) -> tuple[str, str]:
    """Return the name and the rest of a line that names no image.

    Behind an id stand a flag, numbers or paths; other words belong to a name with blanks.
    """
    if line[0] in "\"'":
        return _unquoted(line)
    first, *rest = line.split()
    if all(word in _FLAGS or word.isdecimal() or "/" in word or "." in word for word in rest):
        return first, " ".join(rest)
    return line, ""


def _names(name: str, images: Stems | None) -> Iterator[str]:
    """Yield a name as it is, with slashes alone, and without the folders down to the images'."""
    yield name
    plain = name.replace("\\", "/")
    while plain.startswith(("./", "/")):
        plain = plain.removeprefix(".").lstrip("/")
    yield plain
    if images is not None:
        parts = plain.split("/")
        for place, part in enumerate(parts):
            if part == images.folder.name:
                yield "/".join(parts[place + 1 :])


def _stem(name: str) -> str:
    """Return the id of a name that no image has, for the sentence that says so."""
    stem, ending = os.path.splitext(name)
    stem = stem if ending.lower() in IMAGE_SUFFIXES else name
    return stem.rpartition("/")[2] if stem.startswith("/") else stem


def missing_image(path: Path, image_id: str, folder: Path) -> DataError:
    """Return the error for an image that a list has and its folder of images lacks."""
    return DataError(f"{path} lists {image_id}, but {folder} has no such image")
