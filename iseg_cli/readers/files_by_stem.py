"""The files of a folder by stem, the name without its extension; the folder is listed once."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from iseg_cli.errors import DataError
from iseg_cli.types import nfc


class FilesByStem:
    """Finds the files of a folder by stem, without regard to the case of their extensions.

    A folder, or a folder inside it, is listed at the first request for a file in it. If several
    files have one stem, the file whose extension comes first in the list of extensions is taken.
    The Unicode form of a stem is ignored unless two files differ in it.
    """

    def __init__(self, folder: Path, extensions: Sequence[str]) -> None:
        """Take the files in `folder` with some extensions, in lower case and with their dots."""
        self.folder = folder
        self._rank = {ending: rank for rank, ending in enumerate(extensions)}
        self._listed: dict[str, dict[str, str]] = {}
        self._others: dict[str, str] = {}

    def find(self, stem: str) -> Path | None:
        """Return the file of a stem such as `a` or `deep/a`, or of a name with an extension."""
        if {"", ".", ".."} & set(stem.split("/")):
            return None
        inside, _, last = stem.rpartition("/")
        files = self._files(inside)
        for key in (last, self.split(last)[0]):
            if name := files.get(key) or files.get(f"\0{nfc(key)}"):
                return self.folder / inside / name
        return None

    def stems(self) -> list[str]:
        """Return the stems of the files in the folder itself, sorted."""
        return sorted({self.split(name)[0] for name in self._files("").values()})

    def split(self, name: str) -> tuple[str, str]:
        """Return a name without its extension, and the extension; "" for an unknown extension."""
        stem, ending = os.path.splitext(name)
        return (stem, ending) if ending.lower() in self._rank else (name, "")

    def resolve(self, stems: Iterable[str]) -> dict[str, Path]:
        """Return the file of each stem that has one."""
        found = ((stem, self.find(stem)) for stem in stems)
        return {stem: path for stem, path in found if path is not None}

    def notes(self, files: Iterable[Path]) -> tuple[str, ...]:
        """Return a sentence about files that share their stem with another file."""
        taken = [path for path in files if str(path) in self._others]
        if not taken:
            return ()
        first, other = taken[0], self._others[str(taken[0])]
        images = "1 image has" if len(taken) == 1 else f"{len(taken):,} images have"
        return (
            f"{images} several files in {self.folder}; one of each is read "
            f"(first: {first.name}, not {other})",
        )

    def _files(self, inside: str) -> dict[str, str]:
        """Return the files of a folder by stem and by name; keys in NFC begin with a NUL."""
        if inside not in self._listed:
            self._listed[inside] = self._list(self.folder / inside)
        return self._listed[inside]

    def _list(self, folder: Path) -> dict[str, str]:
        if not os.path.isdir(folder):  # False for a name that is too long
            return {}
        try:
            names = sorted(os.listdir(folder), key=self._sort_key)
        except OSError as error:
            raise DataError(f"{folder} cannot be listed: {error.strerror}") from error
        files: dict[str, str] = {}
        for name in names:
            stem, ending = self.split(name)
            if ending:
                if stem in files:
                    self._others.setdefault(str(folder / files[stem]), name)
                for key in (stem, name, f"\0{nfc(stem)}", f"\0{nfc(name)}"):
                    files.setdefault(key, name)
        return files

    def _sort_key(self, name: str) -> tuple[int, bool, str]:
        ending = os.path.splitext(name)[1]
        lower = ending.lower()
        return self._rank.get(lower, len(self._rank)), ending != lower, name
