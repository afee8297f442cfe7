"""Image-level labels that a file lists by image, whatever the form of the file."""

from collections.abc import Mapping, Sequence

from iseg_cli.errors import DataError
from iseg_cli.image_labels.base import ImageLabeler
from iseg_cli.image_labels.finder import Images
from iseg_cli.types import Category, Sample


class ListedLabeler(ImageLabeler):
    """Returns the categories that a file lists for an image; DataError for an image it lacks."""

    def __init__(
        self,
        name: str,
        by_image: Mapping[str, tuple[Category, ...]],
        *,
        images: Images,
        others: Sequence[str] = (),
        heading: str | None = None,
    ) -> None:
        """Keep the labels, and note which names of the file are no images of the split.

        Args:
            name: the labeler's name: `file:PATH` and the like.
            by_image: the labels of the split's images, by image id.
            images: the split.
            others: names in the file that are no images of the split.
            heading: the line of the file that is a heading, if there is one.

        Raises:
            DataError: the file has no image of the split.
        """
        self.name, self._by_image = name, by_image
        self._path = path = name.partition(":")[2]
        if not by_image:
            named = f"it has {_some(others)}, and the split " if others else "the split "
            raise DataError(
                f"{path} names no image of split {images.split} in {images.root}; "
                f"{named}has {_some(images.image_ids)}"
            )
        if heading is not None:
            self.notes += (
                f"the first line of {path} ({heading}) is a heading, since it names no image",
            )
        if others:
            names = "1 name" if len(others) == 1 else f"{len(others)} names"
            self.notes += (
                f"{path} has {names} of no image of split {images.split} in {images.root}: "
                f"{_some(others)}",
            )

    def labels(self, sample: Sample) -> tuple[Category, ...]:
        """Return the categories that the file lists for an image."""
        if sample.image_id in self._by_image:
            return self._by_image[sample.image_id]
        raise DataError(
            f"{self._path} says nothing about image {sample.image_id}; "
            "add it, without labels if there is nothing to segment in it"
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
