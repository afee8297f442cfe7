"""Reads the names of the objects in a VOC annotation (XML)."""

from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from iseg_cli.errors import DataError

_NAME = ("object", "name")
"""The path of an object's name below the root; a part (head, hand, foot) also has a name."""


def object_names(path: Path) -> list[str]:
    """Return the name of each object in an annotation, in the sequence of the file.

    DataError, with the file, if it cannot be read, is no XML, declares entities (they let a small
    file fill the memory) or has an object without a name.
    """
    try:
        return _ObjectNames(path).parse(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"there is no annotation {path}") from error
    except (OSError, expat.ExpatError, ValueError, LookupError) as error:
        raise DataError(f"{path} is no readable annotation: {error}") from error


class _ObjectNames:
    """Collects the names of objects during the parsing of a document."""

    def __init__(self, path: Path) -> None:
        self._file = path
        self._open: list[str] = []
        self._names: list[list[str]] = []

    def parse(self, data: bytes) -> list[str]:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._refuse
        parser.Parse(data, True)
        names = [" ".join("".join(parts).split()) for parts in self._names]
        if "" in names:
            number = names.index("") + 1
            raise DataError(f"{self._file}: object {number} has no name; name it or remove it")
        return names

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._open.append(tag)
        if tuple(self._open[1:]) == _NAME[:1]:
            self._names.append([])

    def _end(self, tag: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        if tuple(self._open[1:]) == _NAME:
            self._names[-1].append(text)

    def _refuse(self, name: str, *_: object) -> NoReturn:
        raise DataError(f"{self._file} declares the entity {name!r}; remove the declaration")
