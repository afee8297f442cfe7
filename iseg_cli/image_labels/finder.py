"""Finds images of a dataset by the names in a file: id, path, or file name."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from iseg_cli.errors import DataError
from iseg_cli.types import nfc

ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".avif", ".heic", ".heif", ".jp2"),
)
"""Endings, in lower case, that a name may have; the image's own ending may be another."""


class Images(Protocol):
    """The images of a dataset's split; every reader implements this."""

    root: Path
    split: str
    image_ids: tuple[str, ...]

    def image_path(self, image_id: str) -> Path:
        """Return the file of an image."""
        ...


class ImageFinder:
    """Finds images by the names in files of labels.

    A name is an id, the path below the dataset's root, the end of that path, or the file's name,
    each with or without its ending; an id has precedence. Backslashes, a leading `./`, the case of
    the ending and the Unicode form make no difference.
    """

    def __init__(self, images: Images) -> None:
        self.images = images
        self._ids = frozenset(images.image_ids)
        self._asked: dict[str, Sequence[str]] = {}

    def __call__(self, name: str) -> str | None:
        """Return the id of the image that has a name, None if there is none.

        DataError if several images have the name.
        """
        found = self.every(name)
        if len(found) > 1:
            raise DataError(
                f"{name!r} may be the image {found[0]!r} or {found[1]!r}; "
                f"write the path below {self.images.root}"
            )
        return found[0] if found else None

    def every(self, name: str) -> Sequence[str]:
        """Return the ids of all images that a name fits, by the kind of name with precedence."""
        if name in self._ids:
            return (name,)
        if name not in self._asked:
            self._asked[name] = self._search(name)
        return self._asked[name]

    def _search(self, name: str) -> Sequence[str]:
        plain = self._plain(name)
        stem, ending = os.path.splitext(plain)
        forms = (plain, stem) if ending in ENDINGS else (plain,)
        for form in forms:  # most files have ids, so that no path is needed
            if found := self._plain_ids.get(form):
                return found
        for form in forms:
            if others := self._whole.get(form) or self._ends_of(form):
                return others
        return ()

    def first_words(self, text: str) -> tuple[str, str] | None:
        """Return the first words of a text that name an image, and the rest of the text.

        The shortest name counts; None if the text begins with no name.
        """
        words = text.split(" ")
        for count in range(1, min(len(words), self._most_words) + 1):
            head = " ".join(words[:count])
            if head and self.every(head):
                return head, " ".join(words[count:]).strip()
        return None

    def _plain(self, name: str) -> str:
        """Return a name in the form of `_forms`: composed, slashes, the ending in lower case."""
        plain = nfc(name.strip()).replace("\\", "/")
        plain = plain.removeprefix(self._root)
        while plain.startswith(("./", "/")):
            plain = plain.removeprefix(".").lstrip("/")
        return _lower_ending(plain)

    @cached_property
    def _root(self) -> str:
        return nfc(self.images.root.as_posix()).rstrip("/") + "/"

    @cached_property
    def _plain_ids(self) -> dict[str, tuple[str, ...]]:
        """The images by id, in the form of `_plain`."""
        found: dict[str, tuple[str, ...]] = {}
        for image_id in self.images.image_ids:
            plain = _lower_ending(nfc(image_id))
            found[plain] = (*found.get(plain, ()), image_id)
        return found

    @cached_property
    def _whole(self) -> dict[str, tuple[str, ...]]:
        """The images by id and by their path below the root, with and without ending."""
        found: dict[str, tuple[str, ...]] = {}
        for image_id, forms in self._forms():
            for form in forms:
                found[form] = (*found.get(form, ()), image_id)
        return found

    @cached_property
    def _most_words(self) -> int:
        """The greatest number of words in the name of an image."""
        return 1 + max((form.count(" ") for form in self._whole), default=0)

    @cached_property
    def _by_last(self) -> dict[str, list[str]]:
        """The names in `_whole` by their last part."""
        found: dict[str, list[str]] = {}
        for form in self._whole:
            found.setdefault(form.rpartition("/")[2], []).append(form)
        return found

    @cached_property
    def _resolved_root(self) -> str:
        return nfc(self.images.root.resolve().as_posix())

    def _ends_of(self, form: str) -> Sequence[str]:
        """Return the images whose path ends in `form`."""
        paths = self._by_last.get(form.rpartition("/")[2], ())
        ends = (path for path in paths if f"{self._resolved_root}/{path}".endswith(f"/{form}"))
        return list(dict.fromkeys(i for path in ends for i in self._whole[path]))

    def _forms(self) -> Iterator[tuple[str, set[str]]]:
        root = f"{self.images.root}{os.sep}"
        for image_id in self.images.image_ids:
            path = str(self.images.image_path(image_id)).removeprefix(root).replace(os.sep, "/")
            stem, ending = os.path.splitext(path)
            ending = ending.lower()
            own = (_lower_ending(image_id), image_id + ending, stem + ending, _lower_ending(stem))
            yield image_id, set(own if path.isascii() and image_id.isascii() else map(nfc, own))


def _lower_ending(name: str) -> str:
    if name.islower():
        return name
    stem, ending = os.path.splitext(name)
    return stem + ending.lower()
