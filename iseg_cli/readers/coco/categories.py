"""Reads the `categories` of a JSON in COCO's format."""

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iseg_cli.errors import DataError
from iseg_cli.readers.coco.json_values import Identity, identity, number, shown, source_id, text


@dataclass(frozen=True)
class CategoryEntry:
    """A category of a file.

    Attributes:
        source_id: its id in the file.
        name: its name, stripped; empty if it has none.
    """

    source_id: Identity
    name: str


def read_categories(value: Any, path: Path) -> tuple[CategoryEntry, ...] | None:
    """Return the categories of a file, sorted by id; None if it has none.

    A record without an id is skipped. DataError, with the file, if `value` is no list.
    """
    if not value and not isinstance(value, int | str):  # missing, null, empty
        return None
    if not isinstance(value, list):
        raise DataError(f"{path} does not read like COCO's instances: categories is no list")
    found = []
    for record in value:
        own = source_id(record.get("id")) if isinstance(record, dict) else None
        if own is not None:
            found.append(CategoryEntry(own, _name(record.get("name"))))
    return tuple(sorted(found, key=_sort_key))


def group_categories(
    entries: Iterable[CategoryEntry], used: Collection[Identity], path: Path
) -> dict[str, list[CategoryEntry]]:
    """Return the categories by the `compared_name` of their names.

    DataError if a category with annotations has no name, or two names.
    """
    groups: defaultdict[str, list[CategoryEntry]] = defaultdict(list)
    group_of: dict[Identity, str] = {}
    for entry in entries:
        name, key = compared_name(entry.name), category_key(entry)
        if key in used and not name:
            raise DataError(
                f"{path} gives no name to the category {shown(entry.source_id)} of its "
                "annotations; write one"
            )
        if key not in group_of:
            group_of[key] = name
            groups[name].append(entry)
        elif key in used and group_of[key] != name:
            raise DataError(
                f"{path} gives the category id {shown(entry.source_id)} to "
                f"{shown(groups[group_of[key]][0].name)} and {shown(entry.name)}; "
                "give each its own"
            )
    return dict(groups)


def class_source_id(entries: Sequence[CategoryEntry], used: Collection[Identity]) -> Identity:
    """Return the id of a class: the first id with annotations, or the first of all."""
    return next((e for e in entries if category_key(e) in used), entries[0]).source_id


def category_key(entry: CategoryEntry) -> Identity:
    """Return the id of a category for comparison."""
    found = identity(entry.source_id)
    return entry.source_id if found is None else found


def compared_name(name: str) -> str:
    """Return the name of a class for comparison, without regard to case."""
    return unicodedata.normalize("NFC", name).casefold()


def _sort_key(entry: CategoryEntry) -> tuple[bool, int, str]:
    """Return a sort key: integers by value, then all other ids."""
    key = category_key(entry)
    return (False, key, "") if isinstance(key, int) else (True, 0, key)


def _name(value: Any) -> str:
    """Return a name with single blanks; a number is a name, as of a class of digits."""
    if number(value) is not None and not isinstance(value, str):
        value = shown(value)
    return " ".join((text(value) or "").split())
