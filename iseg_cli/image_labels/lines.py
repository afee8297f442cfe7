"""Labels in lines, with or without a heading.

The first comma, semicolon or tab of a line is the separator of its cells; a line without any of
them is split at blanks. Empty lines and lines that begin with `#` are ignored.
"""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from iseg_cli.errors import DataError
from iseg_cli.files.text import numbered_lines
from iseg_cli.image_labels.entries import (
    IMAGE_WORDS,
    LABEL_WORDS,
    Entries,
    Entry,
    is_word,
    split_cell,
)
from iseg_cli.image_labels.finder import ImageFinder

_THERE = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False, "": False}
"""The meaning of the cells in a table with a column for each class."""


@dataclass(frozen=True)
class Row:
    """A line in cells; the first one names the image.

    Attributes:
        where: `line 3`.
        cells: their texts, without the blanks around them.
        in_columns: whether the separator is a comma, a semicolon or a tab.
        image: the id of the image that the first cell names; None if it names none.
    """

    where: str
    cells: tuple[str, ...]
    in_columns: bool
    image: str | None


def separator(line: str) -> str | None:
    """Return the separator of a line's cells: the first `,`, `;` or tab outside quotes, or None.

    Example:
        >>> separator("a;b,c")
        ';'
    """
    if '"' not in line:
        return found[0] if (found := re.search("[,;\t]", line)) else None
    quoted, at_start = False, True
    for character in line:
        if quoted:
            quoted = character != '"'
        elif character in ",;\t":
            return character
        else:
            quoted = character == '"' and at_start
            at_start = character == " "
    return None


def split_line(line: str, delimiter: str, where: str) -> tuple[str, ...]:
    """Return a line's cells without quotes and blanks around them; DataError, naming the line."""
    if delimiter == " " and '"' not in line:
        return tuple(line.split())
    try:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise DataError(f"{where}: {error}") from error
    return tuple(cell.strip() for cell in cells)


def read_rows(text: str, path: Path, find: ImageFinder) -> list[Row]:
    """Return the lines in cells; the name of an image may hold blanks."""
    rows = []
    for number, line in numbered_lines(text):
        where = f"{path}, line {number}"
        delimiter = separator(line)
        cells = split_line(line, delimiter or " ", where)
        if delimiter is None:
            cells = tuple(cell for cell in cells if cell) or ("",)
        row = _named(Row(where, cells, delimiter is not None, None), find)
        if row.image is not None or not line.startswith("#"):
            rows.append(row)
    column = _image_column(rows, find)
    if column:
        moved = (replace(row, cells=_moved(row.cells, column), image=None) for row in rows)
        rows = [_named(row, find) for row in moved]
    for row in rows:
        if not row.cells[0]:
            raise DataError(f"{row.where}: an image must come first")
    return rows


def read_entries(
    text: str, path: Path, find: ImageFinder, is_class: Callable[[str], bool] | None
) -> Entries:
    """Return the entries in lines of labels.

    A first line that names no image is a heading if another line names one. It names the classes
    of columns of 0 and 1, or the columns of labels, or nothing of use.

    Args:
        text: the content of the file.
        path: the file, for errors.
        find: finds images by their names.
        is_class: tells whether a name is a class; None if the file defines the classes.

    Raises:
        DataError: a line that cannot be read.
    """
    rows = read_rows(text, path, find)
    known = is_class or (lambda name: False)
    first, others = rows[:1], rows[1:]
    if not first or first[0].image is not None or all(row.image is None for row in others):
        return Entries(tuple(_entry(row, row.cells[1:], known) for row in rows))
    names = first[0].cells[1:]
    heading = ", ".join(first[0].cells)
    if _is_one_hot(names, others, is_class):
        return Entries(tuple(_marked(row, names) for row in others), heading)
    if is_class is not None and all(
        map(known, [label for cell in names for label in split_cell(cell, known)])
    ):
        return Entries(tuple(_entry(row, row.cells[1:], known) for row in rows))
    left_out = _other_columns(names) if first[0].in_columns else set()
    return Entries(
        tuple(
            _entry(row, [c for i, c in enumerate(row.cells[1:]) if i not in left_out], known)
            for row in others
        ),
        heading,
    )


def _named(row: Row, find: ImageFinder) -> Row:
    """Return a row with the image that its first cell, or the first words of the line, names."""
    first, *rest = row.cells
    name, after = first, tuple(rest)
    if not find.every(first):
        beginning = find.first_words(first if row.in_columns else " ".join(row.cells))
        if beginning is None:
            return row
        name = beginning[0]
        after = (beginning[1], *rest) if row.in_columns else tuple(beginning[1].split())
    try:
        return replace(row, cells=(name, *after), image=find(name))
    except DataError as error:
        raise DataError(f"{row.where}: {error}") from error


def _image_column(rows: Sequence[Row], find: ImageFinder) -> int:
    """Return the column of the images' names; a heading may name another one than the first."""
    if not rows or rows[0].image is not None or is_word(rows[0].cells[0], IMAGE_WORDS):
        return 0
    for column, name in enumerate(rows[0].cells):
        below = (row.cells[column] for row in rows[1:] if column < len(row.cells))
        if is_word(name, IMAGE_WORDS) and any(find.every(cell) for cell in below):
            return column
    return 0


def _moved(cells: tuple[str, ...], column: int) -> tuple[str, ...]:
    """Return the cells with the one of a column first."""
    if column >= len(cells):
        return cells
    return (cells[column], *cells[:column], *cells[column + 1 :])


def _other_columns(names: Sequence[str]) -> set[int]:
    """Return the columns that hold no labels by their headings, counted from the image's column.

    If no heading is `label`, `class` or the like, leading columns without a heading hold none.
    """
    labels = [i for i, name in enumerate(names) if is_word(name, LABEL_WORDS)]
    if not labels:
        return {i for i, name in enumerate(names) if not name and any(names[i:])}
    return {i for i, name in enumerate(names) if i not in labels and (name or i < labels[-1])}


def _is_one_hot(
    names: Sequence[str], rows: Sequence[Row], is_class: Callable[[str], bool] | None
) -> bool:
    """Tell whether every class has a column: 1 for an image that has the class, otherwise 0."""
    if not names or any(is_word(name, LABEL_WORDS) or name.isdecimal() for name in names):
        return False
    if is_class is not None and not any(map(is_class, names)):
        return False
    return all(
        row.in_columns
        and len(row.cells) == len(names) + 1
        and all(cell.lower() in _THERE for cell in row.cells[1:])
        for row in rows
    )


def _marked(row: Row, names: Sequence[str]) -> Entry:
    cells = zip(names, row.cells[1:], strict=True)
    labels = tuple(name for name, cell in cells if _THERE[cell.lower()])
    return Entry(row.where, row.cells[0], labels)


def _entry(row: Row, cells: Sequence[str], is_class: Callable[[str], bool]) -> Entry:
    labels = [label for cell in cells for label in split_cell(cell, is_class)]
    return Entry(row.where, row.cells[0], tuple(labels))
