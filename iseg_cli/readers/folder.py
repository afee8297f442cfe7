"""Any folder of images, with the categories that its owner names."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from iseg_cli.errors import DataError, SettingsError
from iseg_cli.readers.base import Reader, require_folder, require_split
from iseg_cli.readers.images import IMAGE_SUFFIXES
from iseg_cli.readers.tables import load_label_set, voc_color
from iseg_cli.samples import Category, LabelSet

SPLITS = ("all",)

_OF_A_RUN = ("run.json", "images*.jsonl")
"""The files by which a folder of predictions is known; a shard has records of its own."""


class FolderReader(Reader):
    """Every image below a folder, sorted; ids are paths within it, without their endings.

    `categories` get the labels 1, 2 ... in the order given, and VOC's palette; `label_set` takes
    those of a table in their place. `truth` is a folder of masks `<id>.png`, where there is one;
    images inside it are none of the dataset's. Files and folders whose names begin with a dot are
    passed over, and so are folders of predictions: masks are no images to segment.
    """

    name: ClassVar[str] = "folder"

    def __init__(
        self,
        root: Path,
        *,
        split: str = "all",
        categories: Sequence[str] = (),
        label_set: str | None = None,
        truth: Path | None = None,
    ) -> None:
        if categories and label_set is not None:
            raise SettingsError("name a folder's categories or a label set, not both")
        require_split(split, SPLITS, name=self.name)
        require_folder(root, what="with images")
        if truth is not None:
            require_folder(truth, what="with the masks of a folder of images")
        self._truth_folder = truth
        self._files: dict[str, Path] = {}
        for path in _images_below(root, leaving_out=truth):
            image_id = path.relative_to(root).with_suffix("").as_posix()
            other = self._files.setdefault(image_id, path)
            if other is not path:
                raise DataError(
                    f"{other} and {path} would both be written to the mask {image_id}.png; "
                    "rename one of them"
                )
        super().__init__(
            root,
            split=split,
            label_set=label_set_of(categories) if label_set is None else load_label_set(label_set),
            image_ids=sorted(self._files),
        )

    @property
    def has_truth(self) -> bool:
        """Whether a folder of masks was given."""
        return self._truth_folder is not None

    def image_path(self, image_id: str) -> Path:
        """Return the file whose path without ending is the id."""
        return self._files[image_id]

    def part(self, image_ids: Sequence[str]) -> "FolderReader":
        """Return a reader of some of the images, which knows the files of these alone."""
        part = super().part(image_ids)
        part._files = {image_id: self._files[image_id] for image_id in image_ids}
        return part

    def _read_truth(self, image_id: str) -> tuple[UInt8[np.ndarray, "height width"], Path]:
        if self._truth_folder is None:
            raise DataError(f"the folder {self.root} came without a folder of masks")
        path = self._truth_folder / f"{image_id}.png"
        return self._read_labels(path), path


def label_set_of(names: Sequence[str]) -> LabelSet:
    """Return a label set of the names given, numbered from 1, which are their prompts as well."""
    words = [" ".join(name.split()) for name in names]
    if "" in words or "background" in words:
        raise SettingsError(
            "a category needs a name, and `background` is there without being named"
        )
    if len(set(words)) != len(words):
        twice = next(word for word in words if words.count(word) > 1)
        raise SettingsError(f"the category {twice!r} was named twice")
    return LabelSet(
        name="folder",
        categories=tuple(
            Category(label, word, word, color=voc_color(label))
            for label, word in enumerate(words, start=1)
        ),
    )


def _images_below(root: Path, *, leaving_out: Path | None) -> Iterator[Path]:
    left_out = None if leaving_out is None else leaving_out.resolve()
    resolved = cache(Path.resolve)  # of folders: each holds many images
    within: dict[Path, bool] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
            continue
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        if left_out is not None:
            real = path.resolve() if path.is_symlink() else resolved(path.parent) / path.name
            if left_out in real.parents:
                continue
        if path.parent not in within:
            within[path.parent] = _is_of_predictions(path.parent, root)
        if not within[path.parent]:
            yield path


def _is_of_predictions(folder: Path, root: Path) -> bool:
    """Tell whether a folder below the root, or one between, holds what a run wrote."""
    between = [folder, *folder.parents][: len(folder.relative_to(root).parts)]
    return any(all(any(f.glob(name)) for name in _OF_A_RUN) for f in between)
