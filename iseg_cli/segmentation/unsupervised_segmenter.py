"""`UnsupervisedSegmenter`: from images to masks of numbered segments, without categories."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8

from iseg_cli.attention.self_map_extractor import SelfMapExtractor
from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.backbones.transfers import HostCopies
from iseg_cli.config import Settings
from iseg_cli.segmentation.batch_segmenter import Pending, Segmentation
from iseg_cli.segmentation.segments import find_segments
from iseg_cli.types import Category, LabelSet, Mask


class UnsupervisedSegmenter:
    """Finds segments in images with a diffusion model, without categories; see `Segmenter`."""

    needs_categories = False

    def __init__(self, model: DiffusionModel, settings: Settings, *, batch_size: int = 1) -> None:
        self.model = model
        self.settings = settings
        self.batch_size = batch_size
        self.extractor = SelfMapExtractor(model, settings, batch_size=batch_size)

    def check(self, categories: Sequence[Category]) -> None:
        """Do nothing: no prompt is written."""

    def prefetch_texts(self, categories: Sequence[Sequence[Category]]) -> None:
        """Do nothing: no text is embedded."""

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
            categories: not used.
            sizes: the (height, width) of each image's mask.
            label_set: not used; labels are the numbers of segments, counted from 0.
        """
        maps = self.extractor.extract(images)
        found = find_segments(maps, sizes, self.settings)
        masks = [segments.labels.to(torch.uint8) for segments in found]
        # Merging and stretching may lose NaN; the total keeps it.
        totals = maps.merged.sum(dim=(1, 2))
        scores = [
            segments.scores.where(total.isfinite(), torch.nan).to(torch.float16)
            for segments, total in zip(found, totals, strict=True)
        ]
        copies = HostCopies([*masks, *scores])

        def finish() -> list[Segmentation]:
            arrays = copies.arrays()
            return [
                Segmentation(Mask(mask), scores, tuple(range(len(scores))))
                for mask, scores in zip(arrays[: len(masks)], arrays[len(masks) :], strict=True)
            ]

        return finish
