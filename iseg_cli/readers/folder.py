"""Reads any folder of images, with categories that the user names."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from unicodedata import normalize

import numpy as np
from jaxtyping import UInt8

from iseg_cli.errors import DataError, DatasetNotFoundError, SettingsError
from iseg_cli.label_images.palette import voc_color
from iseg_cli.readers.base import Reader
from iseg_cli.readers.checks import first_existing, require_folder, require_split
from iseg_cli.readers.image_folder import Listing, list_images, named
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.types import IGNORE, Category, LabelSet, is_background, name_key, nfc

SPLITS = ("all",)


class FolderReader(Reader):
    """All images below a folder, sorted; an image id is the path below it, without the extension.

    Args:
        root: the folder.
        split: `all`, the only split.
        categories: the names of the labels 1, 2 ...; they get VOC's palette.
        label_set: the name of a category table, in place of `categories`.
        ground_truth: a folder of masks `<id>.png`; None without ground truth. Images inside it are
            not images of the dataset.
    """

    name: ClassVar[str] = "folder"

    def __init__(
        self,
        root: Path,
        *,
        split: str = "all",
        categories: Sequence[str] = (),
        label_set: str | None = None,
        ground_truth: Path | None = None,
    ) -> None:
        if categories and label_set is not None:
            raise SettingsError(
                "a folder has categories or a label set, not both; leave one of them out"
            )
        require_split(split, SPLITS, name=self.name)
        require_folder(root, what="with images")
        if ground_truth is not None:
            require_folder(ground_truth, what="with the masks of a folder of images")
        self._ground_truth_folder = ground_truth
        listing = list_images(root, leaving_out=ground_truth)
        if not listing.images:
            raise DatasetNotFoundError(_without_images(root, listing))
        self._files = listing.images
        super().__init__(
            root,
            split=split,
            label_set=label_set_of(categories) if label_set is None else load_label_set(label_set),
            image_ids=sorted(self._files),
        )
        self.refused |= listing.refused
        self.notes = listing.notes

    @property
    def has_ground_truth(self) -> bool:
        """Whether a folder of masks was given."""
        return self._ground_truth_folder is not None

    def image_path(self, image_id: str) -> Path:
        """Return the file whose path without its extension is the id."""
        return self._files[image_id]

    def part(self, image_ids: Sequence[str]) -> "FolderReader":
        """Return a reader of some images alone, with the paths of their files."""
        part = super().part(image_ids)
        part._files = {image_id: self._files[image_id] for image_id in image_ids}
        return part

    def with_categories(self, names: Sequence[str]) -> "FolderReader":
        """Return a reader of the same images with other categories; errors as in `label_set_of`."""
        other = copy.copy(self)
        other.label_set = label_set_of(names)
        return other

    def _read_ground_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        if self._ground_truth_folder is None:
            raise DataError(f"the folder {self.root} has no ground truth; pass --truth FOLDER")
        names = dict.fromkeys((image_id, *(normalize(form, image_id) for form in ("NFC", "NFD"))))
        path = first_existing(*(self._ground_truth_folder / f"{name}.png" for name in names))
        return self._read_labels(path), path


def label_set_of(names: Sequence[str]) -> LabelSet:
    """Return a label set of some names, numbered from 1; each name is its prompt.

    SettingsError for an empty name, a name of the background, a name that occurs twice (without
    regard to case), and for more names than a mask has labels.

    Example:
        >>> label_set_of(["cat", "dog"]).names
        {0: 'background', 1: 'cat', 2: 'dog'}
    """
    words = [nfc(" ".join(name.split())) for name in names]
    if "" in words:
        raise SettingsError("a category needs a name; leave the empty one out")
    if named := [word for word in words if is_background(word)]:
        raise SettingsError(
            f"{named[0]!r} is no category; leave it out, every mask has the background"
        )
    first: dict[str, str] = {}
    for word in words:
        other = first.get(name_key(word))
        first[name_key(word)] = word
        if other is not None:
            same = "" if other == word else f", also as {other!r}"
            raise SettingsError(
                f"the category {word!r} was named twice{same}; leave one of them out"
            )
    if len(words) > IGNORE - 1:
        raise SettingsError(
            f"there are {len(words)} categories, but a mask has labels for {IGNORE - 1}"
        )
    return LabelSet(
        name="folder",
        categories=tuple(
            Category(label, word, word, color=voc_color(label))
            for label, word in enumerate(words, start=1)
        ),
    )


def _without_images(root: Path, listing: Listing) -> str:
    """Return the message about a folder without images that can be read."""
    reasons = list(dict.fromkeys(listing.refused.values()))
    why = reasons[0] if reasons else "; ".join(listing.notes)
    if others := list(listing.refused)[1:]:
        why += f"; {len(others)} more cannot be used: {named(others)}"
    return f"split all of folder in {root} has no images" + (f": {why}" if why else "")
