"""The `categories` of a JSON in COCO's format, as they are listed."""

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
    """A category as a file lists it.

    Attributes:
        source_id: the id that the file has for it.
        name: its name, without blanks around; empty where it has none.
    """

    source_id: Identity
    name: str


def read_categories(value: Any, path: Path) -> tuple[CategoryEntry, ...] | None:
    """Return the categories of a file in the order of their ids; None where it has none.

    Records without an id are passed over. DataError, naming the file, if they are no list.
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
    return tuple(sorted(found, key=_order))


def group_categories(
    entries: Iterable[CategoryEntry], used: Collection[Identity], path: Path
) -> dict[str, list[CategoryEntry]]:
    """Return categories by what their names are compared by; names differ in more than case.

    DataError for a category of annotations that has no name, or two.
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
    """Return the id of a class: of several, the first that annotations have."""
    return next((e for e in entries if category_key(e) in used), entries[0]).source_id


def category_key(entry: CategoryEntry) -> Identity:
    """Return what a category is compared by."""
    found = identity(entry.source_id)
    return entry.source_id if found is None else found


def compared_name(name: str) -> str:
    """Return what the name of a class is compared by: its case does not matter."""
    return unicodedata.normalize("NFC", name).casefold()


def _order(entry: CategoryEntry) -> tuple[bool, int, str]:
    """Sort integers by their value, before all other ids."""
    key = category_key(entry)
    return (False, key, "") if isinstance(key, int) else (True, 0, key)


def _name(value: Any) -> str:
    """Return a name with single blanks; a number is the name of a digit's class."""
    if number(value) is not None and not isinstance(value, str):
        value = shown(value)
    return " ".join((text(value) or "").split())
