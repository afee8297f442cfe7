"""The base class of all sources of image-level labels."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from iseg_cli.types import Category, Sample


class ImageLabeler(ABC):
    """Returns the categories that are in an image: its image-level labels.

    A run calls `prepare` in a thread for each decoded image and `label_batch` for several prepared
    images. A labeler that needs no pixels implements `labels` alone.

    Attributes:
        name: the provenance of the labels, for run.json and reports.
        notes: what a user should know about the labels, a sentence each.
        batch_size: how many prepared images `label_batch` gets at most.
    """

    name: str
    notes: tuple[str, ...] = ()
    batch_size: int = 1

    @abstractmethod
    def labels(self, sample: Sample) -> tuple[Category, ...]:
        """Return the categories in an image, in the order of their ids; it may be empty.

        IsegError if the image's labels are not known.
        """

    def prepare(self, sample: Sample, image: UInt8[np.ndarray, "height width 3"]) -> Any:
        """Return what `label_batch` needs of a decoded image: by default its labels."""
        return self.labels(sample)

    def label_batch(self, prepared: Sequence[Any]) -> list[tuple[Category, ...]]:
        """Return the categories in each of some prepared images."""
        return list(prepared)
