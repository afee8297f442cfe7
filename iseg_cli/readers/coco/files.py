"""Finds the files of a dataset in COCO's format: JSON files, splits and images."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

JSON_PATTERNS = (
    "annotations/instances_{split}.json",
    "annotations/{split}.json",
    "{split}/_annotations.coco.json",
)
"""The paths of a split's annotations, in the sequence in which they are tried."""

# COCO's files with other annotations than instances.
_OTHERS = re.compile(r"(?:instances|captions|person_keypoints|stuff|panoptic|image_info)_")


def find_json(root: Path, split: str) -> Path | None:
    """Return the annotation file of a split; None if there is none."""
    paths = (root / pattern.format(split=split) for pattern in JSON_PATTERNS)
    return next((path for path in paths if path.is_file()), None)


def json_splits(root: Path) -> tuple[str, ...]:
    """Return the splits of the JSON files below a root, sorted."""
    found: set[str] = set()
    for pattern in JSON_PATTERNS:
        before, after = pattern.split("{split}")
        for path in root.glob(pattern.format(split="*")):
            name = path.relative_to(root).as_posix()
            found.add(name[len(before) : len(name) - len(after)])
    return tuple(sorted(split for split in found if not _OTHERS.match(split)))


@dataclass(frozen=True)
class ImageFolders:
    """The folders in which the `file_name` of an image is looked for, the likeliest first."""

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, folders: Iterable[Path]) -> "ImageFolders":
        """Return the folders that exist."""
        return cls(tuple(folder for folder in dict.fromkeys(folders) if folder.is_dir()))

    def below(self, name: str) -> str:
        """Return a name; an absolute path in one of the folders becomes the path below it."""
        if name.startswith("/"):
            for folder in self.folders:
                if name.startswith(f"{folder.absolute().as_posix()}/"):
                    return name[len(folder.absolute().as_posix()) + 1 :]
        return name

    def find(self, name: str) -> Path | None:
        """Return the file of a name, in any Unicode form and any case of its extension."""
        for spelling in _spellings(name):
            for folder in self.folders:
                if is_file(folder / spelling):
                    return folder / spelling
        return None

    def find_exactly(self, name: str) -> Path | None:
        """Return the file with exactly this name."""
        return next((f / name for f in self.folders if is_file(f / name)), None)

    def path(self, name: str, short: str) -> Path:
        """Return the file of a name, or of its short form without the common folder.

        If neither exists, return the likeliest path.
        """
        return self.find(name) or self.find(short) or self.folders[0] / name


def is_file(path: Path) -> bool:
    """Return whether a path is a file; False for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _spellings(name: str) -> Iterator[str]:
    yield name
    if name != name.strip():
        yield name.strip()
    if not name.isascii():
        yield from (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    stem, dot, ending = name.rpartition(".")
    if dot:
        yield from (f"{stem}.{case}" for case in (ending.lower(), ending.upper()))
