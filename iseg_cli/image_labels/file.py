"""Image-level labels from a file: JSON, or a line per image or per label.

`ImageFinder` finds the images by their names, `LabelSet.by_name` the classes by their names and
words. A number is a label of the masks (VOC: 15 is person), not a count from 0, unless a class has
that name. The name of the background is ignored. Several lines about one image are united. An image
without labels has an empty list, or its name alone on its line.
"""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from iseg_cli.errors import DataError
from iseg_cli.files.text import read_text
from iseg_cli.image_labels.entries import LABEL_WORDS, Entries, Entry, Label, split_cell
from iseg_cli.image_labels.finder import ImageFinder, Images
from iseg_cli.image_labels.lines import read_entries
from iseg_cli.image_labels.listed import ListedLabeler
from iseg_cli.image_labels.mappings import is_json, no_list, pairs, path_and_list
from iseg_cli.image_labels.split_labels import SplitLabels
from iseg_cli.types import Category, LabelSet, is_background, name_key, nfc

_NUMBER = re.compile(r"(\d{1,9})(\.0+)?", re.ASCII)
"""A label in a table of numbers; `15.0` is 15."""


def open_file(path: str, split: SplitLabels) -> ListedLabeler:
    """Return the labeler of `--labels file:PATH` or `file:PATH#LIST`."""
    file, chosen = path_and_list(path)
    return read_labels_file(file, split.label_set, split.images, chosen=chosen)


def read_labels_file(
    path: Path, label_set: LabelSet, images: Images, *, chosen: str | None = None
) -> ListedLabeler:
    """Return the labels that a file lists for each image.

    The whole file is checked at once. The labeler's notes say which names in it are no images of
    the split, and which line is a heading.

    Args:
        path: the file.
        label_set: the classes that its labels are among.
        images: the split's images.
        chosen: the key of the list to read, in a JSON that holds several.

    Raises:
        DataError: the file cannot be read or has no image of the split, a name fits two images, or
            the label set lacks a name or an id. The error names the file, the line or image, and
            the nearest name.
    """
    find = ImageFinder(images)
    category_of = cache(lambda label: _category(label, label_set))
    content = _read(path, find, cache(lambda text: _is_class(text, label_set)), chosen)
    by_image: dict[str, set[Category]] = {}
    others: list[str] = []
    for entry in content.entries:
        categories = _categories(entry, category_of)
        image_id = _image_of(entry, find)
        if image_id is None:
            others.append(entry.image)
        else:
            by_image.setdefault(image_id, set()).update(categories)
    return ListedLabeler(
        f"file:{path}" if chosen is None else f"file:{path}#{chosen}",
        {i: tuple(sorted(own, key=lambda c: c.id)) for i, own in by_image.items()},
        images=images,
        others=others,
        heading=content.heading,
    )


def names_in_file(path: Path, images: Images, *, chosen: str | None = None) -> tuple[str, ...]:
    """Return the class names in a file, sorted: the categories of a folder without a table.

    Names that differ only in case, blanks or Unicode form are one name, in its first spelling.
    DataError if the file cannot be read or has ids in place of names.
    """
    names: dict[str, str] = {}
    for entry in _read(path, ImageFinder(images), None, chosen).entries:
        for label in entry.labels:
            if isinstance(label, int) or _NUMBER.fullmatch(label):
                raise DataError(
                    f"{entry.where}: {label} is an id; a folder's categories need names"
                )
            if not is_background(label):
                names.setdefault(name_key(label), " ".join(nfc(label).split()))
    return tuple(sorted(names.values()))


def _read(
    path: Path, find: ImageFinder, is_class: Callable[[str], bool] | None, chosen: str | None
) -> Entries:
    text = read_text(path, "file of labels")
    if not is_json(path, text):
        if chosen is not None:
            raise no_list(path, chosen)
        return read_entries(text, path, find, is_class)
    return Entries(
        tuple(
            Entry(f"{path}, image {image}", image, _labels(value, path, image, is_class))
            for image, value in pairs(text, path, find, LABEL_WORDS, chosen=chosen)
        )
    )


def _labels(
    value: object, path: Path, image: str, is_class: Callable[[str], bool] | None
) -> tuple[Label, ...]:
    """Return the labels in a JSON value: a list of labels, or one label."""
    if isinstance(value, str):
        return tuple(split_cell(value, is_class or (lambda name: False)))
    items = value if isinstance(value, list) else [value]
    labels: list[Label] = []
    for item in items:
        if isinstance(item, float) and item.is_integer():
            item = int(item)
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise DataError(f"{path}, image {image}: its labels must be a list of names or ids")
        if not isinstance(item, str):
            labels.append(item)
        elif item.strip():
            labels.append(item.strip())
    return tuple(labels)


def _image_of(entry: Entry, find: ImageFinder) -> str | None:
    try:
        return find(entry.image)
    except DataError as error:
        raise DataError(f"{entry.where}: {error}") from error


def _categories(entry: Entry, category_of: Callable[[Label], Category | None]) -> set[Category]:
    try:
        return {category for category in map(category_of, entry.labels) if category is not None}
    except DataError as error:
        raise DataError(f"{entry.where}: {error}") from error


def _category(label: Label, label_set: LabelSet) -> Category | None:
    """Return the category of a name or an id, None for the background's name."""
    if isinstance(label, str):
        number = _NUMBER.fullmatch(label)
        if number is None or label in {category.name for category in label_set.categories}:
            return None if _is_background(label, label_set) else label_set.by_name(label)
        label = int(number[1])
    ids = [category.id for category in label_set.categories]
    if label not in ids and ids:
        if label == 0:
            first = label_set.by_id(min(ids))
            raise DataError(
                f"0 is no class of label set {label_set.name}, whose ids are {first.id} to "
                f"{max(ids)}; if this list counts from 0, add {first.id} to every number "
                f"({first.name} is {first.id}), and if 0 is its background, leave it out"
            )
        if any(label in category.source_ids for category in label_set.categories):
            raise DataError(
                f"{label} is no id of label set {label_set.name}, whose ids are {min(ids)} to "
                f"{max(ids)}; if this list has the ids of the dataset's own files, write names"
            )
    return label_set.by_id(label)


def _is_class(text: str, label_set: LabelSet) -> bool:
    if _NUMBER.fullmatch(text) or _is_background(text, label_set):
        return True
    try:
        label_set.by_name(text)
    except DataError:
        return False
    return True


def _is_background(name: str, label_set: LabelSet) -> bool:
    classes = (category.name for category in label_set.categories)
    return is_background(name) and not any(map(is_background, classes))
