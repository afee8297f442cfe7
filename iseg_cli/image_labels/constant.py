"""The same image-level labels for every image."""

from collections.abc import Iterable

from iseg_cli.image_labels.base import ImageLabeler
from iseg_cli.types import Category, Sample


class ConstantLabeler(ImageLabeler):
    """Returns the same categories for every image."""

    name = "constant"

    def __init__(self, categories: Iterable[Category]) -> None:
        self._categories = tuple(categories)

    def labels(self, sample: Sample) -> tuple[Category, ...]:
        """Return the categories, whatever the image."""
        return self._categories


class NoLabeler(ConstantLabeler):
    """Returns no categories for any image; for the unsupervised task."""

    name = "none"

    def __init__(self) -> None:
        super().__init__(())
