"""Scores settings on a split without writing files."""

from collections.abc import Mapping
from typing import NoReturn

from tqdm import tqdm

from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.config import Settings
from iseg_cli.errors import DataError
from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix
from iseg_cli.generation.image_loop import FailedImage
from iseg_cli.readers.base import Reader
from iseg_cli.storage.sweeps import ImageCounts
from iseg_cli.sweep.plan import plan_captures
from iseg_cli.sweep.scores import Totals
from iseg_cli.sweep.settings_scorer import SettingsScorer


def score_settings(
    model: DiffusionModel,
    reader: Reader,
    variants: Mapping[str, Settings],
    *,
    batch_size: int = 8,
    limit: int | None = None,
) -> dict[str, ConfusionMatrix]:
    """Return the confusion matrix of each setting on a split.

    Image-level labels come from the ground truth. Nothing is written.

    Args:
        model: the diffusion model.
        reader: a split with ground truth.
        variants: settings by name; those that differ only after the capture share one forward.
        batch_size: images in a batch.
        limit: the number of images, from the first of the split on; None for all.

    Raises:
        SettingsError: a setting asks for fusion with CLIP, which is not possible here.
        DataError: an image or its ground truth cannot be read.
    """
    plan_captures(variants)  # refuses settings before anything is opened
    scorer = SettingsScorer(model, reader, None, variants, batch_size=batch_size)
    totals = Totals(list(variants), reader.label_set.num_classes)
    image_ids = reader.image_ids[:limit]
    bar: tqdm[NoReturn] = tqdm(total=len(image_ids), unit="image", disable=None)

    def on_counts(outcome: ImageCounts | FailedImage) -> None:
        if isinstance(outcome, FailedImage):
            raise DataError(outcome.reason)
        totals.add(outcome)
        bar.update()

    with bar:
        scorer.run(image_ids, on_counts)
    return {name: totals.matrix(name) for name in variants}
