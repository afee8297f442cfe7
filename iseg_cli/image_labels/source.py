"""A source of image-level labels, and those that need no file: masks, annotations, one list."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from iseg_cli.errors import DataError
from iseg_cli.image_labels.finder import Images
from iseg_cli.types import Category, LabelSet, Mask, Sample


@dataclass(frozen=True)
class LabelSource:
    """Says which categories are in an image; calling it with a sample returns them.

    Attributes:
        name: what the protocol of a run and of its report says of where the labels came from.
        read: the function behind it; an image without labels gives an empty tuple.
        notes: what a user should know about the source, a sentence each.
    """

    name: str
    read: Callable[[Sample], tuple[Category, ...]]
    notes: tuple[str, ...] = ()

    def __call__(self, sample: Sample) -> tuple[Category, ...]:
        """Return the categories in an image, in the order of their ids."""
        return self.read(sample)


def from_masks(ground_truth: Callable[[str], Mask], label_set: LabelSet) -> LabelSource:
    """Return the labels that occur in an image's ground truth, which the method never sees.

    `truth` maps an image id to its mask; background and ignored pixels name no category.
    """

    def read(sample: Sample) -> tuple[Category, ...]:
        return label_set.select(np.unique(ground_truth(sample.image_id).labels).tolist())

    return LabelSource("masks", read)


def from_annotations(
    annotated: Callable[[str], tuple[Category, ...]], notes: Iterable[str] = ()
) -> LabelSource:
    """Return the labels that the dataset's annotations give, `annotated` mapping an id to them."""
    return LabelSource("annotations", lambda sample: annotated(sample.image_id), tuple(notes))


def nowhere() -> LabelSource:
    """Return no categories for any image, for a task that knows none."""
    return LabelSource("none", lambda sample: ())


def constant(categories: Iterable[Category]) -> LabelSource:
    """Return the same categories for every image."""
    everywhere = tuple(categories)
    return LabelSource("constant", lambda sample: everywhere)


def listed(
    name: str,
    by_image: Mapping[str, tuple[Category, ...]],
    *,
    images: Images,
    others: Sequence[str] = (),
    heading: str | None = None,
) -> LabelSource:
    """Return the labels that a file lists by an image's id.

    The source raises DataError, naming the file, for an image that it lacks.

    Args:
        name: the source's: `file:PATH` and the like.
        by_image: the labels of the split's images.
        images: the split.
        others: names in the file that mean no image of the split.
        heading: the line of the file that was taken for a heading.

    Raises:
        DataError: the file has no image of the split.
    """
    path = name.partition(":")[2]
    if not by_image:
        named = f"it has {_some(others)}, and the split " if others else "the split "
        raise DataError(
            f"{path} names no image of split {images.split} in {images.root}; "
            f"{named}has {_some(images.image_ids)}"
        )
    notes = []
    if heading is not None:
        notes.append(f"the first line of {path} ({heading}) is a heading, since it names no image")
    if others:
        names = "1 name" if len(others) == 1 else f"{len(others)} names"
        notes.append(
            f"{path} has {names} of no image of split {images.split} in {images.root}: "
            f"{_some(others)}"
        )

    def read(sample: Sample) -> tuple[Category, ...]:
        if sample.image_id in by_image:
            return by_image[sample.image_id]
        raise DataError(
            f"{path} says nothing about image {sample.image_id}; "
            "add it, without labels if there is nothing to segment in it"
        )

    return LabelSource(name, read, tuple(notes))


def _some(names: Sequence[str], most: int = 3) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
