"""Image-level labels from ground truth."""

from collections.abc import Callable

import numpy as np

from iseg_cli.errors import SettingsError
from iseg_cli.image_labels.base import ImageLabeler
from iseg_cli.image_labels.split_labels import SplitLabels
from iseg_cli.types import Category, LabelSet, Mask, Sample


class MaskLabeler(ImageLabeler):
    """Returns the categories in an image's ground truth. The method never sees the mask itself.

    Background and ignored pixels name no category.
    """

    name = "masks"

    def __init__(self, ground_truth: Callable[[str], Mask], label_set: LabelSet) -> None:
        """Keep where the masks come from.

        Args:
            ground_truth: maps an image id to its mask.
            label_set: what the labels of the masks mean.
        """
        self._ground_truth, self._label_set = ground_truth, label_set

    def labels(self, sample: Sample) -> tuple[Category, ...]:
        """Return the categories in an image's ground truth."""
        mask = self._ground_truth(sample.image_id)
        return self._label_set.select(np.unique(mask.labels).tolist())


def open_masks(path: str, split: SplitLabels) -> MaskLabeler:
    """Return the labeler of `--labels masks`; SettingsError if the split has no ground truth."""
    if split.ground_truth is None:
        raise SettingsError("there are no masks to take image labels from; use file:PATH")
    return MaskLabeler(split.ground_truth, split.label_set)
