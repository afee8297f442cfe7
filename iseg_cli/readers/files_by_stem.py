"""The files of a folder by their names without ending, listed once."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from iseg_cli.errors import DataError
from iseg_cli.types import nfc


class Stems:
    """Finds a folder's files of some kinds by their stems, whatever the case of their endings.

    A folder, or one inside it, is listed when a file in it is first asked for. Of several files of
    one stem the one whose ending comes first is taken. The Unicode form of a stem makes no
    difference where only one file has it.
    """

    def __init__(self, folder: Path, endings: Sequence[str]) -> None:
        """Make ready; `endings` are in lower case, with their dots."""
        self.folder = folder
        self._rank = {ending: rank for rank, ending in enumerate(endings)}
        self._listed: dict[str, dict[str, str]] = {}
        self._others: dict[str, str] = {}

    def find(self, stem: str) -> Path | None:
        """Return the file of a stem such as `a` or `deep/a`, or of a name with any ending."""
        if {"", ".", ".."} & set(stem.split("/")):
            return None
        inside, _, last = stem.rpartition("/")
        files = self._files(inside)
        for key in (last, self.split(last)[0]):
            if name := files.get(key) or files.get(f"\0{nfc(key)}"):
                return self.folder / inside / name
        return None

    def stems(self) -> list[str]:
        """Return the stems of the files right inside the folder, sorted."""
        return sorted({self.split(name)[0] for name in self._files("").values()})

    def split(self, name: str) -> tuple[str, str]:
        """Return a name without its ending, and the ending as written; "" for one of no kind."""
        stem, ending = os.path.splitext(name)
        return (stem, ending) if ending.lower() in self._rank else (name, "")

    def resolve(self, stems: Iterable[str]) -> dict[str, Path]:
        """Return the files of those stems that have one."""
        found = ((stem, self.find(stem)) for stem in stems)
        return {stem: path for stem, path in found if path is not None}

    def notes(self, files: Iterable[Path]) -> tuple[str, ...]:
        """Return a sentence about those of some files beside which others have the same stem."""
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
        """Return the names of a folder's files by stem and by name; composed ones behind a NUL."""
        if inside not in self._listed:
            self._listed[inside] = self._list(self.folder / inside)
        return self._listed[inside]

    def _list(self, folder: Path) -> dict[str, str]:
        if not os.path.isdir(folder):  # a name that is too long for a folder is none
            return {}
        try:
            names = sorted(os.listdir(folder), key=self._order)
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

    def _order(self, name: str) -> tuple[int, bool, str]:
        ending = os.path.splitext(name)[1]
        lower = ending.lower()
        return self._rank.get(lower, len(self._rank)), ending != lower, name
