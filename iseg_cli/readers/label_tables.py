"""Reads category tables: `datasets/<name>.yaml`, one line for each category."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from iseg_cli.config.resources import data_folder, label_table_path
from iseg_cli.errors import DataError, SettingsError, suggestion
from iseg_cli.files.text import read_text
from iseg_cli.types import Category, LabelSet, is_background

_TABLE_KEYS = ("name", "background", "background_words", "categories")
_CATEGORY_KEYS = ("id", "name", "prompt", "focus", "color", "source_ids", "synonyms")

# The exceptions of PyYAML for invalid YAML, beside its YAMLError.
_NO_YAML = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)


def label_set_names() -> tuple[str, ...]:
    """Return the names of the tables that ship with iseg, sorted."""
    return tuple(sorted(path.stem for path in data_folder("datasets").glob("*.yaml")))


@cache
def load_label_set(name: str) -> LabelSet:
    """Return the label set of a table that ships with iseg; SettingsError if none has the name.

    Example:
        >>> load_label_set("voc").by_name("person").id
        15
    """
    known = label_set_names()
    if name not in known:
        raise SettingsError(
            f"there is no label set {name!r}{suggestion(name, known)}; there are {', '.join(known)}"
        )
    return read_label_set(label_table_path(name))


def read_label_set(path: Path) -> LabelSet:
    """Return the label set of a category table; DataError, with the category, if it is wrong."""
    table = _read(path)
    background = table.get("background", 0)
    if background is not None and not _is_label(background):
        raise DataError(f"{path}: background must be a label from 0 to 254, or null")
    words = table.get("background_words", [])
    if not _is_list_of(words, str):
        raise DataError(f"{path}: background_words must be a list of words")
    categories = _categories(table["categories"], path)
    named = next((c.name for c in categories if is_background(c.name)), None)
    if named is not None and background is not None:
        raise DataError(f"{path}: {named!r} is no category; give its label as `background`")
    try:
        return LabelSet(str(table["name"]), categories, background, tuple(words))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a table's YAML file, which has all required keys."""
    try:
        table = yaml.safe_load(read_text(path, "YAML file"))
        json.dumps(
            table, ensure_ascii=False, default=str
        ).encode()  # it may hold half a surrogate pair
    except (*_NO_YAML, yaml.YAMLError) as error:
        raise DataError(f"{path} is no readable YAML file: {error}") from error
    return _checked(table, _TABLE_KEYS, where=str(path), required=("name", "categories"))


def _categories(rows: object, path: Path) -> tuple[Category, ...]:
    """Return the categories of a list, or of the table beside this one that the text names."""
    if isinstance(rows, str):
        if rows == path.stem:
            raise DataError(
                f"{path}: its categories name the table itself; write a list, or name another table"
            )
        if rows != Path(rows).name:
            raise DataError(
                f"{path}: categories {rows!r} must be the name of a table in the same folder"
            )
        other = path.with_name(f"{rows}.yaml")
        rows = _read(other)["categories"]
        if isinstance(rows, str):
            raise DataError(f"{path}: {other} has no list of categories; name a table that has one")
        path = other
    if not isinstance(rows, list):
        raise DataError(f"{path}: categories must be a list, or the name of a table with a list")
    return tuple(sorted((_category(row, path) for row in rows), key=lambda c: c.id))


def _category(row: object, path: Path) -> Category:
    named = row.get("name", row) if isinstance(row, Mapping) else row
    where = f"{path}, category {named!r}"
    entry = _checked(row, _CATEGORY_KEYS, where=where, required=("id", "name", "color"))
    name, color, sources = entry["name"], entry["color"], entry.get("source_ids", [])
    prompt, focus = entry.get("prompt", name), entry.get("focus", "")
    synonyms = entry.get("synonyms", [])
    if not _is_label(entry["id"]):
        raise DataError(f"{where}: id must be a whole number from 0 to 254")
    if not all(isinstance(text, str) for text in (name, prompt, focus)) or not prompt.strip():
        raise DataError(f"{where}: name, prompt and focus must be words")
    if not name.strip():
        raise DataError(f"{where}: a category needs a name")
    if not set(focus.split()) <= set(prompt.split()):
        raise DataError(f"{where}: focus {focus!r} must be words of its prompt {prompt!r}")
    if not (_is_list_of(color, int) and len(color) == 3 and all(0 <= c <= 255 for c in color)):
        raise DataError(f"{where}: color must be three numbers from 0 to 255")
    if not (_is_list_of(sources, int) and all(0 <= source <= 255 for source in sources)):
        raise DataError(f"{where}: source_ids must be a list of whole numbers from 0 to 255")
    if not _is_list_of(synonyms, str):
        raise DataError(f"{where}: synonyms must be a list of words")
    red, green, blue = color
    ids = tuple(sources)
    return Category(entry["id"], name, prompt, focus, (red, green, blue), ids, tuple(synonyms))


def _checked(
    value: object, known: tuple[str, ...], *, where: str, required: tuple[str, ...]
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{where}: must be a mapping with {', '.join(required)}")
    for key in value:
        if key not in known:
            raise DataError(f"{where}: unknown key {key!r}{suggestion(str(key), known)}")
    for key in required:
        if key not in value:
            raise DataError(f"{where}: {key} is missing")
    return value


def _is_label(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 255


def _is_list_of(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)
