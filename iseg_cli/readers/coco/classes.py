"""Gives labels to the categories of a JSON: by the names of a table, or as a table of their own."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iseg_cli.errors import DataError, suggestion
from iseg_cli.label_images.palette import voc_color
from iseg_cli.readers.coco.categories import (
    CategoryEntry,
    category_key,
    class_source_id,
    compared_name,
    group_categories,
)
from iseg_cli.readers.coco.json_values import Identity, shown
from iseg_cli.types import IGNORE, Category, LabelSet

FROM_JSON = "from-json"
"""The name of the label set that a JSON's own categories make."""

_HINT = "pass --dataset coco --label-set from-json for the classes of the file as they are"


@dataclass(frozen=True)
class Classes:
    """The labels of a file's categories.

    Attributes:
        label_set: the classes of the labels.
        labels: the label of each category, by its id for comparison.
        source_ids: the file's id of each label's class.
        notes: what was united or assumed, one sentence each.
    """

    label_set: LabelSet
    labels: Mapping[Identity, int]
    source_ids: Mapping[int, Identity]
    notes: tuple[str, ...] = ()


def choose_classes(
    entries: Sequence[CategoryEntry] | None,
    used: Collection[Identity],
    label_set: LabelSet | None,
    path: Path,
) -> Classes:
    """Return the labels of a file's categories.

    Args:
        entries: the file's categories; None if it has none.
        used: the ids of the categories with annotations.
        label_set: the table to which they are matched by name; None makes them a label set.
        path: the file, for messages.

    Raises:
        DataError: the table lacks a class, or the categories cannot be a label set.
    """
    if label_set is None:
        if entries is None:
            raise DataError(
                f"{path} has no categories to make a label set of; add them, or leave out "
                f"--label-set {FROM_JSON}"
            )
        return _own_table(group_categories(entries, used, path), used, path)
    if entries is None:
        return _numbered(used, label_set, path)
    return _matched(group_categories(entries, used, path), used, label_set, path)


def _numbered(used: Collection[Identity], label_set: LabelSet, path: Path) -> Classes:
    """Return the labels for a file without categories, whose ids are the table's source ids."""
    source_ids = {c.id: (c.source_ids or (c.id,))[0] for c in label_set.categories}
    labels: dict[Identity, int] = {source: label for label, source in source_ids.items()}
    if unknown := [own for own in used if own not in labels]:
        raise DataError(
            f"{path} has no categories, and its annotations have the category id "
            f"{shown(unknown[0])}, which COCO's {len(labels)} classes lack; add its categories"
        )
    note = f"{path} has no categories, so its category ids were read as COCO's own"
    return Classes(label_set, labels, source_ids, (note,))


def _matched(
    groups: Mapping[str, Sequence[CategoryEntry]],
    used: Collection[Identity],
    label_set: LabelSet,
    path: Path,
) -> Classes:
    """Return the labels of categories that are matched to the table by name or by prompt."""
    by_name = {category.name: category for category in label_set.categories}
    by_words = {_folded(category.name): category for category in label_set.categories}
    for category in label_set.categories:
        by_words.setdefault(_folded(category.prompt), category)
    labels: dict[Identity, int] = {}
    of_label: defaultdict[int, list[CategoryEntry]] = defaultdict(list)
    lacking: list[CategoryEntry] = []
    for entries in groups.values():
        name = entries[0].name
        known = by_name.get(name) or by_words.get(_folded(name))
        if known is not None:
            of_label[known.id] += entries
        elif label_set.background is not None and _is_background(name):
            labels |= dict.fromkeys(map(category_key, entries), label_set.background)
        else:
            lacking += [entry for entry in entries if category_key(entry) in used]
    if lacking:
        raise DataError(_lacking(lacking, label_set, path))
    for label, entries in of_label.items():
        labels |= dict.fromkeys(map(category_key, entries), label)
    source_ids = {label: class_source_id(entries, used) for label, entries in of_label.items()}
    return Classes(label_set, labels, source_ids, tuple(_united(of_label.values(), used, path)))


def _own_table(
    groups: Mapping[str, Sequence[CategoryEntry]], used: Collection[Identity], path: Path
) -> Classes:
    """Return categories as a label set: labels from 1, sorted by id, with VOC's colours."""
    named = [entries for name, entries in groups.items() if name and not _is_background(name)]
    if not named or len(named) >= IGNORE:
        raise DataError(
            f"{path} has {len(named)} categories with a name, and a mask holds 1 to {IGNORE - 1} "
            "classes; name them or keep those that you need"
        )
    labels: dict[Identity, int] = {
        category_key(entry): 0
        for name, entries in groups.items()
        for entry in entries
        if _is_background(name)
    }
    categories = []
    for label, entries in enumerate(named, start=1):
        labels |= dict.fromkeys(map(category_key, entries), label)
        name, own = entries[0].name, class_source_id(entries, used)
        words = " ".join(name.replace("_", " ").split()) or name
        sources = (own,) if isinstance(own, int) else ()
        categories.append(Category(label, name, words, color=voc_color(label), source_ids=sources))
    return Classes(
        LabelSet(FROM_JSON, tuple(categories)),
        labels,
        {label: class_source_id(entries, used) for label, entries in enumerate(named, start=1)},
        tuple(_united(named, used, path)),
    )


def _lacking(entries: Sequence[CategoryEntry], label_set: LabelSet, path: Path) -> str:
    first, *others = entries
    names = {category.name.casefold(): category.name for category in label_set.categories}
    nearest = suggestion(first.name.casefold(), names)
    more = f" (and {len(others)} more)" if others else ""
    return (
        f"{path} calls the category {shown(first.source_id)} {shown(first.name)}, which label set "
        f"{label_set.name} lacks{nearest}{more}; {_HINT}, or write the table's name"
    )


def _united(
    groups: Iterable[Sequence[CategoryEntry]], used: Collection[Identity], path: Path
) -> Iterable[str]:
    for entries in groups:
        both = [entry for entry in entries if category_key(entry) in used]
        if len(both) > 1:
            names = " and ".join(f"{shown(entry.source_id)} ({entry.name})" for entry in both)
            own = shown(both[0].source_id)
            yield f"the categories {names} of {path} are one class, {own} in --rle"


def _folded(name: str) -> str:
    """Return a name for comparison with a table, without regard to case, blanks, `_` and `-`."""
    return re.sub(r"[\s_-]+", " ", compared_name(name)).strip()


def _is_background(name: str) -> bool:
    return _folded(name) == "background"
