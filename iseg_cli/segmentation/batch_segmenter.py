"""`BatchSegmenter`: the interface of segmenters for the loop over images; their `Segmentation`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float16, UInt8

from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.config import Settings
from iseg_cli.types import Category, LabelSet, Mask

NO_NUMBERS = (
    "the model gave values that are no numbers (NaN), as half precision does where it overflows; "
    "pass --dtype float32 or bfloat16, or another --model"
)
"""The message for an image whose maps hold NaN."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The mask of one image, and the scores behind it.

    Attributes:
        mask: the labels of the pixels at the original size.
        scores: the maps of the image's categories on the attention's grid, in [0, 1]. After fusion
            with CLIP they are probabilities.
        score_labels: the label in the mask of each map in `scores`.
    """

    mask: Mask
    scores: Float16[np.ndarray, "categories side side"]
    score_labels: tuple[int, ...]

    @property
    def fault(self) -> str | None:
        """Why the mask cannot be used, in one sentence; None for a usable mask."""
        if np.isfinite(self.scores).all():
            return None
        return NO_NUMBERS


Pending = Callable[[], list[Segmentation]]
"""A batch that was begun. A call waits for the device and returns it; any thread may call."""


class BatchSegmenter(Protocol):
    """A segmenter as the loop over images uses it.

    Attributes:
        model: the diffusion model whose attention is read.
        settings: the settings of the method.
        batch_size: the number of images in a batch.
        needs_categories: whether an image without categories is skipped.
    """

    model: DiffusionModel
    settings: Settings
    batch_size: int
    needs_categories: bool

    def check(self, categories: Sequence[Category]) -> None:
        """Raise PromptError for categories that are too long for the text encoder."""

    def prefetch_texts(self, categories: Sequence[Sequence[Category]]) -> None:
        """Note the categories of the next images, so that their texts are embedded together."""

    def begin_batch(
        self,
        images: UInt8[np.ndarray, "batch side side 3"],
        categories: Sequence[Sequence[Category]],
        sizes: Sequence[tuple[int, int]],
        label_set: LabelSet,
    ) -> Pending:
        """Begin to segment at most `batch_size` images, each with its own categories.

        Returns as soon as the work is queued on the device. So the device never waits for the next
        batch.
        """
