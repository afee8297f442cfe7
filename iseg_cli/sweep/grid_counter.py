"""Counts the images of a sweep that its folder lacks."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

from tqdm import tqdm

from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.config import Settings
from iseg_cli.generation.image_loop import FailedImage
from iseg_cli.image_labels import ImageLabeler
from iseg_cli.readers.base import Reader
from iseg_cli.storage.sweeps import ImageCounts, SweepFolder
from iseg_cli.sweep.scores import Totals
from iseg_cli.sweep.settings_scorer import SettingsScorer


class GridCounter:
    """Counts images under the settings of a grid, and adds the counts to the sweep's folder.

    Attributes:
        todo: the images that lack some settings, by the names of these settings.
        failed: the reason of each failure, by image id.
        totals: the counts of the settings, summed over the images.
    """

    def __init__(
        self,
        model: DiffusionModel,
        reader: Reader,
        labeler: ImageLabeler,
        variants: Mapping[str, Settings],
        folder: SweepFolder,
        image_ids: Sequence[str],
    ) -> None:
        """Sum the counts in the folder, and find out what it lacks.

        Args:
            model: the diffusion model.
            reader: the split of the dataset.
            labeler: returns the image-level labels.
            variants: the settings of the grid, by name.
            folder: the sweep's folder.
            image_ids: the images of the sweep.
        """
        self._model, self._reader = model, reader
        # Ground truth is read for the scores: labels from it need no second reading.
        self._labeler = None if labeler.name == "masks" else labeler
        self._variants, self._folder = variants, folder
        self._image_ids = image_ids
        self.failed: dict[str, str] = {}
        self.totals = self._sum(image_ids)
        self.todo = self.totals.missing(image_ids)

    def run(self, batch_size: int, threads: int) -> None:
        """Count the images in `todo`, with a progress bar."""
        images = len(self._image_ids)
        left = sum(map(len, self.todo.values()))
        bar: tqdm[NoReturn] = tqdm(total=images, initial=images - left, unit="image", disable=None)

        def on_counts(outcome: ImageCounts | FailedImage) -> None:
            if isinstance(outcome, FailedImage):
                self.failed[outcome.image_id] = outcome.reason
            else:
                self._folder.add(outcome)
                self.totals.add(outcome)
            bar.update()

        with bar:
            for keys, image_ids in self.todo.items():
                variants = {key: self._variants[key] for key in keys}
                scorer = SettingsScorer(
                    self._model, self._reader, self._labeler, variants, batch_size=batch_size
                )
                scorer.run(image_ids, on_counts, threads=threads)
        if self.failed:  # an earlier grid may have counted them: no setting may have them
            self.totals = self._sum([i for i in self._image_ids if i not in self.failed])

    def _sum(self, image_ids: Sequence[str]) -> Totals:
        asked = set(image_ids)
        totals = Totals(list(self._variants), self._reader.label_set.num_classes)
        for counts in self._folder.read():
            if counts.image_id in asked:
                totals.add(counts)
        return totals
