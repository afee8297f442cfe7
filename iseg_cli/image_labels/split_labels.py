"""What a dataset's split offers to labelers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from iseg_cli.image_labels.finder import Images
from iseg_cli.types import Category, LabelSet, Mask


@dataclass(frozen=True, eq=False)
class SplitLabels:
    """The labels that a split has, and the images that a file may name.

    Attributes:
        label_set: the classes that the labels are among.
        images: the split's images.
        ground_truth: maps an image id to its mask; None if the split has no ground truth.
        annotated: maps an image id to its annotated categories; None if there are no annotations.
        annotation_notes: what a user of the annotations should know, a sentence each.
    """

    label_set: LabelSet
    images: Images
    ground_truth: Callable[[str], Mask] | None = None
    annotated: Callable[[str], tuple[Category, ...]] | None = None
    annotation_notes: Iterable[str] = ()
