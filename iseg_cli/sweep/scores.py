"""Pixel counts of many settings, summed over images."""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Int64

from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix
from iseg_cli.storage.sweeps import ImageCounts
from iseg_cli.types import IGNORE


class Totals:
    """The confusion matrices of some settings, and the images in each of them."""

    def __init__(self, keys: Sequence[str], num_classes: int) -> None:
        self.keys = tuple(keys)
        self._classes = num_classes
        self._index = {key: index for index, key in enumerate(self.keys)}
        self._images: list[set[str]] = [set() for _ in self.keys]
        # The last column is for undecided pixels.
        self._counts: Int64[np.ndarray, "settings classes classes+1"] = np.zeros(
            (len(self.keys), num_classes, num_classes + 1), dtype=np.int64
        )

    def add(self, image: ImageCounts) -> None:
        """Add the counts of an image to each of these settings; a second call changes nothing."""
        wanted = [
            (row, index)
            for row, key in enumerate(image.settings)
            if (index := self._index.get(key)) is not None
            and image.image_id not in self._images[index]
        ]
        if not wanted:
            return
        rows, indices = zip(*wanted, strict=True)
        columns = [self._classes if label == IGNORE else label for label in image.found]
        for index in indices:
            self._images[index].add(image.image_id)
        block = image.counts[list(rows)]
        # += would lose counts if two columns have one label (both undecided).
        np.add.at(self._counts, np.ix_(indices, image.ground_truth, columns), block)

    def missing(self, image_ids: Collection[str]) -> dict[tuple[str, ...], list[str]]:
        """Return the images that lack some settings, by the names of these settings."""
        found: dict[tuple[str, ...], list[str]] = {}
        for image_id in image_ids:
            lacking = tuple(
                key
                for key, images in zip(self.keys, self._images, strict=True)
                if image_id not in images
            )
            if lacking:
                found.setdefault(lacking, []).append(image_id)
        return found

    def matrix(self, key: str) -> ConfusionMatrix:
        """Return the confusion matrix of one of the settings."""
        counts = self._counts[self._index[key]]
        matrix = ConfusionMatrix(self._classes)
        matrix.counts, matrix.undecided = counts[:, :-1].copy(), counts[:, -1].copy()
        return matrix
