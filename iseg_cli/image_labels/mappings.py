"""Values for images in JSON: a mapping, a list of records, or a record per line."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from iseg_cli.errors import DataError, suggestion
from iseg_cli.files.text import numbered_lines, parse_json
from iseg_cli.image_labels.entries import record_of
from iseg_cli.image_labels.finder import ImageFinder

LINES = (".jsonl", ".ndjson")
"""Endings of files with a JSON object per line."""


def path_and_list(spec: str) -> tuple[Path, str | None]:
    """Return the file that `--labels` names, and the key of its list: `labels.json#by_synonym`.

    If a file with a `#` in its name exists, that file is meant.
    """
    path = Path(spec).expanduser()
    before, mark, name = spec.rpartition("#")
    if not mark or not before or path.exists():
        return path, None
    return Path(before).expanduser(), name


def is_json(path: Path, text: str) -> bool:
    """Tell whether a file is JSON: by its ending, or because it begins like a mapping."""
    return path.suffix.lower() in (".json", *LINES) or text.lstrip().startswith("{")


def no_list(path: Path, chosen: str, known: Sequence[str] = ()) -> DataError:
    """Return the error for a list that a file lacks; `known` are the names of its lists."""
    names = f"; it has {', '.join(map(repr, known[:5]))}" if known else ""
    return DataError(f"{path} has no list {chosen!r}{suggestion(chosen, known)}{names}")


def pairs(
    text: str, path: Path, find: ImageFinder, words: str, *, chosen: str | None = None
) -> list[tuple[str, Any]]:
    """Return the images that a JSON names, each with its value.

    The JSON is `{image: value}`, the same under one key (`{"labels": {image: value}}`), or records
    `{"image": ..., "labels": ...}`: a list of records, or one per line in a .jsonl file.

    Args:
        text: the content of the file.
        path: the file, for errors.
        find: finds images by their names.
        words: the headings of the value in a record.
        chosen: the key of the list to read, in a file that holds several; None for one list.

    Raises:
        DataError: the JSON has another form, or no list of that key.
    """
    if path.suffix.lower() in LINES:
        lines = [parse_json(line, path, of_object=_united) for _, line in numbered_lines(text)]
        return list(_records(lines, path, words))
    content = parse_json(text, path, of_object=_united)
    if chosen is not None:
        content = _list_of(content, chosen, path)
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        raise DataError(
            f"{path} is a file of annotations; pass --dataset coco --labels annotations for it"
        )
    if isinstance(content, dict):
        inside = [k for k, v in content.items() if isinstance(v, dict | list) and not find.every(k)]
        lists = [key for key in inside if isinstance(content[key], dict)]
        if len(lists) > 1 and len(lists) == len(content):
            names = ", ".join(map(repr, lists[:5]))
            raise DataError(
                f"{path} holds {len(lists)} lists ({names}); choose one with {path}#{lists[0]}"
            )
        if len(content) == 1 and inside and _holds_images(content[inside[0]]):
            content = content[inside[0]]
    if isinstance(content, list):
        return list(_records(content, path, words))
    if not isinstance(content, dict):
        raise DataError(f"{path} must map image ids to what it says of them")
    return list(content.items())


def _list_of(content: Any, chosen: str, path: Path) -> Any:
    """Return one list of a file that holds several; DataError, with the nearest name."""
    lists = content if isinstance(content, dict) else {}
    known = [key for key, value in lists.items() if isinstance(value, dict | list)]
    if chosen in known:
        return lists[chosen]
    raise no_list(path, chosen, known)


def _records(items: list[Any], path: Path, words: str) -> Iterator[tuple[str, Any]]:
    for number, item in enumerate(items, start=1):
        record = record_of(item, words) if isinstance(item, dict) else None
        if record is None:
            raise DataError(
                f'{path}, record {number}: write {{"image": ..., "labels": ...}}, '
                "or map image ids to lists of labels"
            )
        yield record


def _holds_images(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
    )


def _united(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; the lists of repeated keys are joined."""
    united: dict[str, Any] = {}
    for key, value in items:
        if key not in united:
            united[key] = value
        elif isinstance(value, list) and isinstance(united[key], list):
            united[key] = [*united[key], *value]
        else:
            raise ValueError(f"{key!r} stands there twice")
    return united
