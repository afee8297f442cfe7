"""Reads the `images` of a JSON in COCO's format: one entry for each file, by image id."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from iseg_cli.errors import DataError
from iseg_cli.readers.coco.fault_counts import FaultCounts, FaultKind
from iseg_cli.readers.coco.files import ImageFolders
from iseg_cli.readers.coco.json_values import (
    Identity,
    identity,
    shown,
    source_id,
    text,
    whole_number,
)

_PLAUSIBLE_PIXELS = 2**27
"""A listed size with more pixels is not trusted; the image's header has the real size."""
_LONGEST_NAME = 240
"""The greatest number of bytes of a part of a name: 255 in a file system, minus an extension."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\|/")


@dataclass(frozen=True)
class ImageEntry:
    """An image of a file.

    Attributes:
        file_name: its path below one of the dataset's folders, with `/`.
        short_name: `file_name` without the folder with which all names in the file begin.
        source_id: its id in the file.
        size: (height, width) in pixels; None if the file does not have it.
    """

    file_name: str
    short_name: str
    source_id: Identity
    size: tuple[int, int] | None


@dataclass(frozen=True)
class ImageList:
    """The images of a file.

    Attributes:
        entries: the images by image id, the file name without its extension.
        refused: the names that no image or mask can have -> what is wrong with each.
        by_source: the image ids by the file's ids for comparison, also of refused images.
        notes: what was left out or united, one sentence each.
    """

    entries: Mapping[str, ImageEntry]
    refused: Mapping[str, str]
    by_source: Mapping[Identity, str]
    notes: tuple[str, ...]


def read_images(records: Iterable[Any], path: Path, folders: ImageFolders) -> ImageList:
    """Return the images of the records in a JSON.

    Several records of one file become one image. A record without a name or an id is left out and
    counted. Images with one id are refused: their annotations cannot be told apart.

    Args:
        records: the value of `images`.
        path: the JSON, for messages.
        folders: the folders of the images.

    Raises:
        DataError: two images have one mask, or no record can be used.
    """
    left_out = FaultCounts()
    refused: dict[str, str] = {}
    by_file: dict[str, ImageEntry] = {}
    claims: defaultdict[Identity | None, dict[str, None]] = defaultdict(dict)
    by_source: dict[Identity, str] = {}
    united = 0
    for record in records:
        entry = _entry(record, left_out)
        if entry is None:
            continue
        name, reason = _checked_name(entry.file_name, path, folders)
        if reason:
            refused[name] = reason
            if (own := identity(entry.source_id)) is not None:
                by_source.setdefault(own, name)
            continue
        if name != entry.file_name:
            entry = replace(entry, file_name=name, short_name=name)
        key = name if name.isascii() else unicodedata.normalize("NFC", name)
        claims[identity(entry.source_id)][key] = None
        if key in by_file:
            united += 1
            entry = _united(by_file[key], entry, path, folders)
        by_file[key] = entry
    entries = _by_mask(by_file, path)
    masks = dict(zip(by_file, entries, strict=True))
    for own, keys in claims.items():
        names = [masks[key] for key in keys]
        if own is not None:
            by_source[own] = names[0]
        if len(names) > 1:
            reason = (
                f"{path} gives the id {shown(own)} to {' and '.join(names[:3])}; give each its own"
            )
            refused |= dict.fromkeys(names, reason)
    entries = {name: entry for name, entry in entries.items() if name not in refused}
    notes = [
        f"{found.number} {'image' if found.is_one else 'images'} of {path} "
        f"{'was' if found.is_one else 'were'} left out: {found.kind} ({found.first})"
        for found in left_out
    ]
    if notes and not entries and not refused:
        raise DataError(f"no image of {path} can be used: {notes[0]}")
    if united:
        notes.append(
            f"{_images(united)} of {path} {'is' if united == 1 else 'are'} listed more than once; "
            "each file was taken once, with the annotations of all its records"
        )
    notes += _alike(entries, path, folders)
    return ImageList(entries, refused, by_source, tuple(notes))


def _images(number: int) -> str:
    return "1 image" if number == 1 else f"{number:,} images"


def _entry(record: Any, left_out: FaultCounts) -> ImageEntry | None:
    """Return the entry of a record; None, with the fault counted, if it lacks a value."""
    if not isinstance(record, dict):
        left_out.add(FaultKind("it is no object", "they are no objects"), "record", record)
        return None
    name, own = record.get("file_name"), source_id(record.get("id"))
    if not isinstance(name, str) or not name.strip():
        left_out.add(
            FaultKind("it has no file_name", "they have no file_name"), "id", record.get("id")
        )
        return None
    if own is None:
        left_out.add(FaultKind("it has no id", "they have no id"), "file_name", name)
        return None
    height, width = (whole_number(record.get(side)) or 0 for side in ("height", "width"))
    is_known = min(height, width) > 0 and height * width <= _PLAUSIBLE_PIXELS
    return ImageEntry(name, name, own, (height, width) if is_known else None)


def _checked_name(name: str, path: Path, folders: ImageFolders) -> tuple[str, str]:
    """Return a name with `/` between its parts, and what is wrong with it, or an empty string."""
    if text(name) is None or "\0" in name:
        return shown(name)[1:-1], f"{path} lists the file {shown(name)}, which no file is called"
    if _URL.match(name) and not _DRIVE.match(name):
        return name, f"{path} lists {shown(name)}; download the image and write its file's name"
    written = name
    name = folders.below(name)
    if _DRIVE.match(name):
        return name, f"{path} lists {shown(name)}; write the path below the dataset's folder"
    if "\\" in name:
        name = name.replace("\\", "/")
        if folders.find(name) is None:
            return written, f"{path} lists {shown(written)}; write / between folders and names"
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        return (
            written,
            f"{path} lists {shown(written)}, no path below the dataset's folder; correct it",
        )
    if any(len(part.encode()) > _LONGEST_NAME for part in parts):
        return written, f"{path} lists {shown(written)}, a name too long for a file; shorten it"
    return "/".join(parts), ""


def _united(one: ImageEntry, two: ImageEntry, path: Path, folders: ImageFolders) -> ImageEntry:
    """Return one entry for two records of a file; DataError if they are of two files."""
    if one.file_name != two.file_name:
        first, second = (folders.find_exactly(entry.file_name) for entry in (one, two))
        if first is not None and second is not None and not first.samefile(second):
            raise DataError(
                f"{first} and {second} differ only in how their accents are stored, so they have "
                f"one mask; rename one of them, also in {path}"
            )
    sizes = {entry.size for entry in (one, two) if entry.size is not None}
    return replace(one, size=sizes.pop() if len(sizes) == 1 else None)


def _by_mask(by_file: Mapping[str, ImageEntry], path: Path) -> dict[str, ImageEntry]:
    """Return the entries by image id, with their short names, in the same sequence.

    DataError if two have one image id.
    """
    common = _common_folder(entry.file_name for entry in by_file.values())
    found: dict[str, ImageEntry] = {}
    for entry in by_file.values():
        short = entry.file_name[len(common) :]
        name = _without_ending(short)
        if name in found:
            raise DataError(
                f"{path} lists {found[name].file_name} and {entry.file_name}, which would both be "
                f"written to the mask {name}.png; rename one of them"
            )
        found[name] = replace(entry, short_name=short) if common else entry
    return found


def _common_folder(names: Iterable[str]) -> str:
    """Return the folder with which all names begin, with `/` at its end; "" if there is none."""
    folders = {name.rpartition("/")[0] for name in names}
    if not folders or "" in folders:
        return ""
    common = os.path.commonpath(folders)
    return f"{common}/" if common else ""


def _without_ending(name: str) -> str:
    dot = name.rfind(".")
    return name[:dot] if name.rfind("/") + 1 < dot < len(name) - 1 else name


def _alike(entries: Mapping[str, ImageEntry], path: Path, folders: ImageFolders) -> list[str]:
    """Return a note if names differ only in case; DataError if such names are of one file."""
    seen: dict[str, str] = {}
    alike: list[tuple[str, str]] = []
    for name in entries:
        other = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            alike.append((other, name))
    for one, two in alike:
        first, second = (folders.find_exactly(entries[name].file_name) for name in (one, two))
        if first is not None and second is not None and first.samefile(second):
            raise DataError(
                f"{path} lists {entries[one].file_name} and {entries[two].file_name}, which are "
                "one file; write its name in one way"
            )
    if not alike:
        return []
    return [
        f"{_images(len(alike))} of {path} {'differs' if len(alike) == 1 else 'differ'} from "
        f"another one only in upper and lower case (first: {alike[0][0]} and {alike[0][1]}); on "
        "Windows and macOS the two have one mask"
    ]
