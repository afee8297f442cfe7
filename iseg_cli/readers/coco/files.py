"""Where the files of a dataset in COCO's format are: its JSON files, its splits, its images."""

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
"""Where the annotations of a split are looked for, in this order."""

# Files of COCO that lie beside the instances and are of other kinds.
_OTHERS = re.compile(r"(?:instances|captions|person_keypoints|stuff|panoptic|image_info)_")


def find_json(root: Path, split: str) -> Path | None:
    """Return the annotations of a split; None where there are none."""
    places = (root / place.format(split=split) for place in JSON_PATTERNS)
    return next((path for path in places if path.is_file()), None)


def json_splits(root: Path) -> tuple[str, ...]:
    """Return the splits that the JSON files below a root name, sorted."""
    found: set[str] = set()
    for place in JSON_PATTERNS:
        before, after = place.split("{split}")
        for path in root.glob(place.format(split="*")):
            name = path.relative_to(root).as_posix()
            found.add(name[len(before) : len(name) - len(after)])
    return tuple(sorted(split for split in found if not _OTHERS.match(split)))


@dataclass(frozen=True)
class ImageFolders:
    """The folders that the `file_name` of an image is looked for in, the likeliest first."""

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, folders: Iterable[Path]) -> "ImageFolders":
        """Return those of some folders that exist."""
        return cls(tuple(folder for folder in dict.fromkeys(folders) if folder.is_dir()))

    def below(self, name: str) -> str:
        """Return an absolute path within one of the folders as the path below it."""
        if name.startswith("/"):
            for folder in self.folders:
                if name.startswith(f"{folder.absolute().as_posix()}/"):
                    return name[len(folder.absolute().as_posix()) + 1 :]
        return name

    def find(self, name: str) -> Path | None:
        """Return the file of a name, in any spelling of its accents and its ending."""
        for spelling in _spellings(name):
            for folder in self.folders:
                if is_file(folder / spelling):
                    return folder / spelling
        return None

    def find_exactly(self, name: str) -> Path | None:
        """Return the file of a name as it is spelled."""
        return next((f / name for f in self.folders if is_file(f / name)), None)

    def path(self, name: str, short: str) -> Path:
        """Return the file of a name, or of the name without the folder that all names begin with.

        Where there is none of either, return where it should be.
        """
        return self.find(name) or self.find(short) or self.folders[0] / name


def is_file(path: Path) -> bool:
    """Return whether a path is one of a file; names that no file can have are none."""
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
