"""Images in, numbered segments out: the task without labels, with one model and its settings."""

import colorsys
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import UInt8

from iseg_cli.config import Settings
from iseg_cli.diffusion.loading import DiffusionModel
from iseg_cli.diffusion.self_maps import SelfExtractor
from iseg_cli.diffusion.transfers import HostCopies
from iseg_cli.samples import Category, LabelSet, Mask
from iseg_cli.segments import MOST_SEGMENTS, find_segments
from iseg_cli.workflows.segmentation import Pending, Segmentation

_GOLDEN = 0.618034
"""Steps of this share of the circle keep hues apart, however many there are."""


class UnsupervisedSegmenter:
    """Cuts images into segments with a diffusion model, without words; see `Segmenter`."""

    needs_categories = False

    def __init__(self, model: DiffusionModel, settings: Settings, *, batch_size: int = 1) -> None:
        self.model = model
        self.settings = settings
        self.batch_size = batch_size
        self.extractor = SelfExtractor(model, settings, batch_size=batch_size)

    def check(self, categories: Sequence[Category]) -> None:
        """Accept any image: no prompt is written."""

    def announce(self, categories: Sequence[Sequence[Category]]) -> None:
        """Do nothing: no text is read."""

    @torch.inference_mode()
    def begin_batch(
        self,
        images: UInt8[np.ndarray, "batch side side 3"],
        categories: Sequence[Sequence[Category]],
        sizes: Sequence[tuple[int, int]],
        label_set: LabelSet,
    ) -> Pending:
        """Begin to segment at most `batch_size` images.

        Args:
            images: RGB at the model's size, as `fit_image` makes them.
            categories: not looked at.
            sizes: the (height, width) of each image's mask.
            label_set: not looked at: labels are the segments' numbers, from 0.
        """
        found = find_segments(self.extractor.extract(images), sizes, self.settings)
        masks = [segments.labels.to(torch.uint8) for segments in found]
        copies = HostCopies([*masks, *(segments.scores.to(torch.float16) for segments in found)])

        def finish() -> list[Segmentation]:
            arrays = copies.arrays()
            return [
                Segmentation(Mask(mask), scores, tuple(range(len(scores))))
                for mask, scores in zip(arrays[: len(masks)], arrays[len(masks) :], strict=True)
            ]

        return finish


@cache
def segment_label_set() -> LabelSet:
    """Return what the labels of segments mean: their numbers, in colours that are told apart."""
    return LabelSet(
        name="segments",
        categories=tuple(
            Category(number, f"segment {number}", f"segment {number}", color=_color(number))
            for number in range(MOST_SEGMENTS)
        ),
        background=None,
    )


def _color(number: int) -> tuple[int, int, int]:
    """Return a colour of its own; the first ones differ most."""
    value, saturation = ((1.0, 0.65), (0.75, 0.9), (0.9, 0.35), (0.55, 0.6))[number % 4]
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
