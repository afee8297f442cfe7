"""Any folder of images, with the categories that its owner names."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from unicodedata import normalize

import numpy as np
from jaxtyping import UInt8

from iseg_cli.errors import DataError, DatasetNotFoundError, SettingsError
from iseg_cli.label_images.palette import voc_color
from iseg_cli.readers.base import Reader, first_existing, require_folder, require_split
from iseg_cli.readers.image_folder import Listing, list_images, named
from iseg_cli.readers.label_tables import load_label_set
from iseg_cli.types import IGNORE, Category, LabelSet, is_background, name_key, nfc

SPLITS = ("all",)


class FolderReader(Reader):
    """Every image below a folder, sorted; ids are paths within it, without their endings.

    `categories` get the labels 1, 2 ... in the order given, and VOC's palette; `label_set` takes
    those of a table in their place. `truth` is a folder of masks `<id>.png`, where there is one;
    images inside it are none of the dataset's. What `list_images` refuses is reported by a run, and
    the rest is done.
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
            raise SettingsError("name a folder's categories or a label set, not both")
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
        """Return the file whose path without ending is the id."""
        return self._files[image_id]

    def part(self, image_ids: Sequence[str]) -> "FolderReader":
        """Return a reader of some of the images, which knows the files of these alone."""
        part = super().part(image_ids)
        part._files = {image_id: self._files[image_id] for image_id in image_ids}
        return part

    def with_categories(self, names: Sequence[str]) -> "FolderReader":
        """Return a reader of the same images with other categories; SettingsError as for them."""
        other = copy.copy(self)
        other.label_set = label_set_of(names)
        return other

    def _read_ground_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        if self._ground_truth_folder is None:
            raise DataError(f"the folder {self.root} came without a folder of masks")
        names = dict.fromkeys((image_id, *(normalize(form, image_id) for form in ("NFC", "NFD"))))
        path = first_existing(*(self._ground_truth_folder / f"{name}.png" for name in names))
        return self._read_labels(path), path


def label_set_of(names: Sequence[str]) -> LabelSet:
    """Return a label set of the names given, numbered from 1, which are their prompts as well.

    SettingsError for a name that is empty, that means the background, or that is given twice (case
    makes no difference), and for more names than a mask has labels.
    """
    words = [nfc(" ".join(name.split())) for name in names]
    if "" in words:
        raise SettingsError("a category needs a name; leave the empty one out")
    if named := [word for word in words if is_background(word)]:
        raise SettingsError(
            f"{named[0]!r} is no category; the background is there without being named"
        )
    first: dict[str, str] = {}
    for word in words:
        other = first.get(name_key(word))
        first[name_key(word)] = word
        if other is not None:
            same = "" if other == word else f", as {other!r}; case makes no difference"
            raise SettingsError(f"the category {word!r} was named twice{same}")
    if len(words) > IGNORE - 1:
        raise SettingsError(
            f"{len(words)} categories were named; a mask has labels for {IGNORE - 1} at most"
        )
    return LabelSet(
        name="folder",
        categories=tuple(
            Category(label, word, word, color=voc_color(label))
            for label, word in enumerate(words, start=1)
        ),
    )


def _without_images(root: Path, listing: Listing) -> str:
    """Return the sentence of an error about a folder in which no image can be read."""
    reasons = list(dict.fromkeys(listing.refused.values()))
    why = reasons[0] if reasons else "; ".join(listing.notes)
    if others := list(listing.refused)[1:]:
        why += f"; {len(others)} more cannot be used: {named(others)}"
    return f"split all of folder in {root} has no images" + (f": {why}" if why else "")
