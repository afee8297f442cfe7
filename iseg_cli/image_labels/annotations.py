"""Image-level labels from the dataset's own annotations."""

from collections.abc import Callable, Iterable

from iseg_cli.errors import SettingsError
from iseg_cli.image_labels.base import ImageLabeler
from iseg_cli.image_labels.split_labels import SplitLabels
from iseg_cli.types import Category, Sample


class AnnotationLabeler(ImageLabeler):
    """Returns the categories of an image's ground-truth annotations."""

    name = "annotations"

    def __init__(
        self, annotated: Callable[[str], tuple[Category, ...]], notes: Iterable[str] = ()
    ) -> None:
        """Keep where the annotations come from.

        Args:
            annotated: maps an image id to its annotated categories.
            notes: what a user should know about the annotations, a sentence each.
        """
        self._annotated, self.notes = annotated, tuple(notes)

    def labels(self, sample: Sample) -> tuple[Category, ...]:
        """Return the categories of an image's annotations."""
        return self._annotated(sample.image_id)


def open_annotations(path: str, split: SplitLabels) -> AnnotationLabeler:
    """Return the labeler of `--labels annotations`; SettingsError if the split has none."""
    if split.annotated is None:
        raise SettingsError("there are no annotations to take image labels from; use file:PATH")
    return AnnotationLabeler(split.annotated, split.annotation_notes)
