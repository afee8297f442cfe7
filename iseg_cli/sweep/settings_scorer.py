"""Segments images under many settings and counts their pixels by ground truth and prediction."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8

from iseg_cli.attention.map_extractor import MapExtractor
from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.config import Settings
from iseg_cli.errors import PromptError, SettingsError
from iseg_cli.generation.image_loop import FailedImage, WriteTask, run_image_loop
from iseg_cli.image_labels import ImageLabeler
from iseg_cli.ops.maps import AttentionMaps
from iseg_cli.readers.base import Reader
from iseg_cli.readers.decoding import DecodedImage
from iseg_cli.readers.middle_square import crop_ground_truth, middle_square
from iseg_cli.segmentation.batch_segmenter import NO_NUMBERS
from iseg_cli.segmentation.segmenter import fit_input, label_values
from iseg_cli.storage.sweeps import ImageCounts
from iseg_cli.sweep.counting import TrueLabels, count_image
from iseg_cli.sweep.plan import plan_captures
from iseg_cli.types import IGNORE, Category, Sample

OnCounts = Callable[[ImageCounts | FailedImage], None]
"""Gets the counts of an image, or why it failed; the thread that calls `run` calls it."""


@dataclass(frozen=True, eq=False)
class ImageToCount:
    """A decoded image, ready for the model, with its ground truth."""

    image_id: str
    categories: tuple[Category, ...]
    pixels: UInt8[np.ndarray, "side side 3"]
    ground_truth: TrueLabels


class SettingsScorer:
    """Counts the pixels of images by true and predicted label, under each of some settings.

    The settings differ in their attention and in what follows it. Dataset, task and labels are the
    same. Settings that share their attention share one forward of the model.
    """

    def __init__(
        self,
        model: DiffusionModel,
        reader: Reader,
        labeler: ImageLabeler | None,
        variants: Mapping[str, Settings],
        *,
        batch_size: int,
    ) -> None:
        """Open an extractor for each group of settings that share their attention.

        Args:
            model: the diffusion model.
            reader: a split with ground truth.
            labeler: returns the image-level labels; None takes them from the ground truth.
            variants: the settings by name.
            batch_size: images in a batch.

        Raises:
            SettingsError: settings that a sweep cannot score, or that the model cannot follow.
        """
        self.names = tuple(variants)
        self._captures = plan_captures(variants)
        self._model, self._reader, self._labeler = model, reader, labeler
        self._settings = next(iter(variants.values()))
        self._batch_size = batch_size
        self._extractors = [
            _open_extractor(model, capture.settings, reader, batch_size)
            for capture in self._captures
        ]

    def run(self, image_ids: Iterable[str], on_counts: OnCounts, *, threads: int = 4) -> None:
        """Count the pixels of images, and deliver the counts of each image, in any order.

        Args:
            image_ids: images of the split.
            on_counts: gets the counts.
            threads: how many threads decode images and ground truth.

        Raises:
            SettingsError: a batch does not fit into memory.
        """
        with ThreadPoolExecutor(_counting_threads(self._model), "count") as counters:

            def process(batch: list[ImageToCount]) -> Iterable[WriteTask]:
                for outcome in self._count(batch, counters):
                    on_counts(outcome)
                return ()

            run_image_loop(
                self._reader,
                image_ids,
                prepare=self._prepare,
                select=lambda prepared: self._usable(prepared, on_counts),
                process=process,
                fail=on_counts,
                batch_size=self._batch_size,
                threads=threads,
            )

    def _prepare(self, sample: Sample, decoded: DecodedImage) -> ImageToCount:
        """Return an image at the model's size, its ground truth and its categories."""
        pixels, _ = fit_input(decoded.pixels, self._settings, self._model.image_size)
        ground_truth = self._reader.ground_truth(sample.image_id)
        seen = ground_truth.labels
        if self._settings.crop == "center":
            seen = middle_square(ground_truth.labels)
            ground_truth = crop_ground_truth(ground_truth, self._model.image_size)
        if self._labeler is None:
            categories = self._reader.label_set.select(np.unique(seen).tolist())
        else:
            categories = self._labeler.labels(sample)
        return ImageToCount(sample.image_id, categories, pixels, TrueLabels(ground_truth.labels))

    def _usable(
        self, prepared: Iterable[ImageToCount], on_counts: OnCounts
    ) -> Iterator[ImageToCount]:
        """Yield the images that the model must see; deliver the others."""
        for item in prepared:
            if not item.categories:
                on_counts(self._background(item))
                continue
            try:
                for extractor in self._extractors:
                    extractor.prompts(item.categories)
            except PromptError as error:
                on_counts(FailedImage(item.image_id, str(error)))
                continue
            yield item

    def _count(
        self, batch: Sequence[ImageToCount], counters: ThreadPoolExecutor
    ) -> Iterator[ImageCounts | FailedImage]:
        images = np.stack([item.pixels for item in batch])
        categories = [item.categories for item in batch]
        found: list[dict[str, np.ndarray]] = [{} for _ in batch]
        not_finite: set[str] = set()
        for capture, extractor in zip(self._captures, self._extractors, strict=True):
            try:
                attention = extractor.extract(images, categories)
            except torch.OutOfMemoryError:
                raise SettingsError(
                    f"{self._batch_size} images do not fit into the memory of "
                    f"{self._model.device}; pass a smaller --batch-size and --overwrite"
                ) from None
            own = [_row(attention, row, len(item.categories)) for row, item in enumerate(batch)]
            not_finite |= {
                item.image_id
                for item, maps in zip(batch, own, strict=True)
                if not (maps.cross.sum() + maps.self_attention.sum()).isfinite()
            }
            truths = [item.ground_truth for item in batch]
            with _one_thread_each():
                counted = counters.map(count_image, own, [capture] * len(batch), truths)
                for mine, counts in zip(found, counted, strict=True):
                    mine |= counts
        for item, counts in zip(batch, found, strict=True):
            if item.image_id in not_finite:
                yield FailedImage(item.image_id, NO_NUMBERS)
                continue
            stacked = np.stack([counts[name] for name in self.names])
            yield self._image_counts(item, stacked)

    def _background(self, item: ImageToCount) -> ImageCounts:
        """Return the counts of an image without categories: all of it is background."""
        size = torch.zeros(1, *item.ground_truth.size, dtype=torch.int64)
        counts = item.ground_truth.count(size, 2)
        return self._image_counts(item, np.repeat(counts, len(self.names), axis=0))

    def _image_counts(self, item: ImageToCount, counts: np.ndarray) -> ImageCounts:
        values = label_values(item.categories, self._reader.label_set)
        found = (*values[: len(item.categories) + 1].tolist(), IGNORE)
        return ImageCounts(item.image_id, item.ground_truth.labels, found, self.names, counts)


def _open_extractor(
    model: DiffusionModel, settings: Settings, reader: Reader, batch_size: int
) -> MapExtractor:
    words = settings.prompt.background_words
    return MapExtractor(
        model,
        settings,
        background_words=reader.label_set.background_words if words is None else words,
        batch_size=batch_size,
    )


def _row(attention: AttentionMaps, row: int, categories: int) -> AttentionMaps:
    """Return the attention of one image of a batch, without columns of padding."""
    return AttentionMaps(
        attention.cross[row : row + 1, :, :categories],
        attention.self_attention[row : row + 1],
        attention.side,
        attention.valid[row : row + 1, :categories],
    )


def _counting_threads(model: DiffusionModel) -> int:
    """Return how many images are counted at a time: one on a GPU."""
    return torch.get_num_threads() if model.device.type == "cpu" else 1


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let PyTorch use one thread per image: its matrices then stay in the caches of one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
