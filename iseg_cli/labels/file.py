"""Image-level labels from a file: JSON, or a line per image.

JSON maps image ids to lists of names or ids: `{"2007_000032": ["person", 1]}`. Any other file has a
line per image, its id first, then its labels. A line with a comma is CSV (`id,traffic light,car`);
one without is split at blanks (`2007_000032 person aeroplane`). Lines that are empty or begin with
`#` are passed over. A number is a label as masks hold it (VOC: 15 is person), not a count from 0.
An image without labels has an empty list, or its id alone on its line.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from iseg_cli.errors import DataError
from iseg_cli.labels.source import LabelSource, listed
from iseg_cli.samples import Category, LabelSet

Labels = Mapping[str, Sequence[str | int]]


def from_file(path: Path, label_set: LabelSet) -> LabelSource:
    """Return the labels that a file gives for each image, by its id or its file's name.

    The whole file is checked at once. DataError, naming the file and the image, for a file that
    cannot be read, a name or id that the label set lacks (with the nearest name), and, when asked
    for it, an image that the file lacks.
    """
    by_image = {
        image_id: _categories(labels, label_set, where=f"{path}, image {image_id}")
        for image_id, labels in _read(path).items()
    }
    return listed(f"file:{path}", by_image)


def names_in_file(path: Path) -> tuple[str, ...]:
    """Return the names that a file uses, sorted: the categories of a folder that has no table.

    DataError if the file cannot be read or has ids in place of names.
    """
    names: set[str] = set()
    for image_id, labels in _read(path).items():
        for label in labels:
            if isinstance(label, int) or label.isdecimal():
                raise DataError(
                    f"{path}, image {image_id}: {label} is an id; a folder's categories need names"
                )
            names.add(label)
    return tuple(sorted(names))


def _categories(
    labels: Sequence[str | int], label_set: LabelSet, *, where: str
) -> tuple[Category, ...]:
    try:
        found = {
            label_set.by_id(int(label))
            if isinstance(label, int) or label.isdecimal()
            else label_set.by_name(label)
            for label in labels
        }
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    return tuple(sorted(found, key=lambda category: category.id))


def _read(path: Path) -> Labels:
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"there is no file of labels {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no readable file of labels: {error}") from error
    return _from_json(text, path) if path.suffix.lower() == ".json" else _from_lines(text, path)


def _from_json(text: str, path: Path) -> Labels:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is no readable JSON file: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must map image ids to lists of labels")
    for image_id, labels in content.items():
        if not isinstance(labels, list) or not all(type(item) in (str, int) for item in labels):
            raise DataError(f"{path}, image {image_id}: its labels must be a list of names or ids")
    return content


def _from_lines(text: str, path: Path) -> Labels:
    by_image: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = next(csv.reader([line], skipinitialspace=True)) if "," in line else line.split()
        image_id, *labels = (cell.strip() for cell in cells)
        if not image_id:
            raise DataError(f"{path}, line {number}: an image id must come first")
        if image_id in by_image:
            raise DataError(f"{path}, line {number}: image {image_id} stands there twice")
        by_image[image_id] = [label for label in labels if label]
    return by_image
