"""A source of image-level labels, and those that need no file: masks, annotations, one list."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from iseg_cli.errors import DataError
from iseg_cli.samples import Category, LabelSet, Mask, Sample


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


def from_masks(truth: Callable[[str], Mask], label_set: LabelSet) -> LabelSource:
    """Return the labels that occur in an image's ground truth, which the method never sees.

    `truth` maps an image id to its mask; background and ignored pixels name no category.
    """

    def read(sample: Sample) -> tuple[Category, ...]:
        return label_set.select(np.unique(truth(sample.image_id).labels).tolist())

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


def listed(name: str, by_image: Mapping[str, tuple[Category, ...]]) -> LabelSource:
    """Return the labels that a file lists by an image's id, or by the name of its file.

    `name` is the source's: `file:PATH` and the like. The source raises DataError, naming the file,
    for an image that it lacks.
    """

    def read(sample: Sample) -> tuple[Category, ...]:
        for key in (sample.image_id, sample.image_path.name):
            if key in by_image:
                return by_image[key]
        raise DataError(
            f"{name.partition(':')[2]} says nothing about image {sample.image_id}; "
            "add it, without labels if there is nothing to segment in it"
        )

    return LabelSource(name, read)
