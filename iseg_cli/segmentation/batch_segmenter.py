"""What every segmenter gives for an image, and what the loop over images needs of one."""

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
"""Why an image's maps mean nothing."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What one image was made into.

    Attributes:
        mask: the labels of its pixels at its original size.
        scores: its categories' maps on the attention's grid, in [0, 1]; their probabilities where
            they were fused with CLIP's.
        score_labels: the label of each of these in the mask.
    """

    mask: Mask
    scores: Float16[np.ndarray, "categories side side"]
    score_labels: tuple[int, ...]

    @property
    def fault(self) -> str | None:
        """Why the mask means nothing, in one sentence; None for a mask that does."""
        if np.isfinite(self.scores).all():
            return None
        return NO_NUMBERS


Pending = Callable[[], list[Segmentation]]
"""A batch under way: called, it waits until the device is done; any thread may call it."""


class BatchSegmenter(Protocol):
    """What the loop over images needs of a segmenter.

    Attributes:
        model: what reads the attention.
        settings: how.
        batch_size: images at a time.
        needs_categories: whether an image without categories is left alone.
    """

    model: DiffusionModel
    settings: Settings
    batch_size: int
    needs_categories: bool

    def check(self, categories: Sequence[Category]) -> None:
        """Raise PromptError for categories that the text encoder cannot hold."""

    def prefetch_texts(self, categories: Sequence[Sequence[Category]]) -> None:
        """Note the categories of images that will come soon."""

    def begin_batch(
        self,
        images: UInt8[np.ndarray, "batch side side 3"],
        categories: Sequence[Sequence[Category]],
        sizes: Sequence[tuple[int, int]],
        label_set: LabelSet,
    ) -> Pending:
        """Segment at most `batch_size` images, each with categories of its own.

        Returns as soon as the device knows what to do, so that it never waits for the next batch.
        """
