"""The loop over images: decode in threads, read attention in batches, count in threads."""

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
from iseg_cli.execution.image_faults import IMAGE_FAULTS, reason_of
from iseg_cli.execution.iteration import batches, map_ahead
from iseg_cli.image_labels import LabelSource
from iseg_cli.ops.maps import AttentionMaps
from iseg_cli.readers.base import Reader
from iseg_cli.readers.decoding import load_image
from iseg_cli.readers.middle_square import crop_ground_truth, middle_square
from iseg_cli.segmentation.batch_segmenter import NO_NUMBERS
from iseg_cli.segmentation.segmenter import fit_input, label_values
from iseg_cli.storage.sweeps import ImageCounts
from iseg_cli.sweep.counting import TrueLabels, count_image
from iseg_cli.sweep.plan import plan_captures
from iseg_cli.types import IGNORE, Category


@dataclass(frozen=True)
class Failed:
    """An image that cannot be segmented or has no truth, and why."""

    image_id: str
    reason: str


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A decoded image on its way to the model."""

    image_id: str
    categories: tuple[Category, ...]
    pixels: UInt8[np.ndarray, "side side 3"]
    ground_truth: TrueLabels


class SettingsScorer:
    """Segments images under every one of some settings and counts pixels by true and found label.

    The settings differ in what is read and in what is made of it; dataset, task and labels are the
    same. Those that share a capture share one forward of the model.
    """

    def __init__(
        self,
        model: DiffusionModel,
        reader: Reader,
        source: LabelSource | None,
        variants: Mapping[str, Settings],
        *,
        batch_size: int,
    ) -> None:
        """Make ready.

        Args:
            model: what reads the attention.
            reader: a split with ground truth.
            source: where image-level labels come from; None for the ground truth.
            variants: the settings by name.
            batch_size: images at a time.

        Raises:
            SettingsError: settings that cannot be scored here, or that the model cannot follow.
        """
        self.names = tuple(variants)
        self._captures = plan_captures(variants)
        self._model, self._reader, self._source = model, reader, source
        self._settings = next(iter(variants.values()))
        self._batch_size = batch_size
        self._extractors = [
            _open_extractor(model, capture.settings, reader, batch_size)
            for capture in self._captures
        ]

    @property
    def captures(self) -> int:
        """How many forwards of the model an image takes."""
        return len(self._captures)

    def run(self, image_ids: Iterable[str], workers: int = 4) -> Iterator[ImageCounts | Failed]:
        """Yield what became of each image, in no certain order.

        Args:
            image_ids: of the reader's split.
            workers: threads that decode images and truth.
        """
        ahead = workers + 2 * self._batch_size
        with (
            ThreadPoolExecutor(workers, "decode") as decoders,
            ThreadPoolExecutor(_counting_threads(self._model), "count") as counters,
        ):
            usable: list[Failed | ImageCounts] = []
            prepared = self._usable(
                map_ahead(decoders, self._prepare, image_ids, ahead), usable.append
            )
            for batch in batches(prepared, self._batch_size):
                yield from self._count(batch, counters)
                yield from usable
                usable.clear()
            yield from usable

    def _prepare(self, image_id: str) -> _Prepared | Failed:
        """Decode an image and its truth, once, and look up its labels."""
        try:
            image = load_image(self._reader.sample(image_id).image_path)
            pixels, _ = fit_input(image, self._settings, self._model.image_size)
            ground_truth = self._reader.ground_truth(image_id)
            seen = ground_truth.labels
            if self._settings.crop == "center":
                seen = middle_square(ground_truth.labels)
                ground_truth = crop_ground_truth(ground_truth, self._model.image_size)
            if self._source is None:
                categories = self._reader.label_set.select(np.unique(seen).tolist())
            else:
                categories = self._source(self._reader.sample(image_id))
        except IMAGE_FAULTS as error:
            return Failed(image_id, reason_of(error))
        return _Prepared(image_id, categories, pixels, TrueLabels(ground_truth.labels))

    def _usable(
        self,
        prepared: Iterable[_Prepared | Failed],
        pass_by: Callable[[Failed | ImageCounts], None],
    ) -> Iterator[_Prepared]:
        """Yield what the model has to see; images that fail or show nothing go past it."""
        for item in prepared:
            if isinstance(item, Failed):
                pass_by(item)
            elif not item.categories:
                pass_by(self._nothing(item))
            else:
                try:
                    for extractor in self._extractors:
                        extractor.prompts(item.categories)
                except PromptError as error:
                    pass_by(Failed(item.image_id, str(error)))
                else:
                    yield item

    def _count(
        self, batch: Sequence[_Prepared], counters: ThreadPoolExecutor
    ) -> Iterator[ImageCounts | Failed]:
        images = np.stack([item.pixels for item in batch])
        categories = [item.categories for item in batch]
        found: list[dict[str, np.ndarray]] = [{} for _ in batch]
        unsound: set[str] = set()
        for capture, extractor in zip(self._captures, self._extractors, strict=True):
            try:
                attention = extractor.extract(images, categories)
            except torch.OutOfMemoryError:
                raise SettingsError(
                    f"{self._batch_size} images do not fit into the memory of "
                    f"{self._model.device}; pass a smaller --batch-size and --overwrite"
                ) from None
            own = [_alone(attention, row, len(item.categories)) for row, item in enumerate(batch)]
            unsound |= {
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
            if item.image_id in unsound:
                yield Failed(item.image_id, NO_NUMBERS)
                continue
            stacked = np.stack([counts[name] for name in self.names])
            yield self._image_counts(item, stacked)

    def _nothing(self, item: _Prepared) -> ImageCounts:
        """Return the counts of an image without categories: all of it is background."""
        size = torch.zeros(1, *item.ground_truth.size, dtype=torch.int64)
        counts = item.ground_truth.count(size, 2)
        return self._image_counts(item, np.repeat(counts, len(self.names), axis=0))

    def _image_counts(self, item: _Prepared, counts: np.ndarray) -> ImageCounts:
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


def _alone(attention: AttentionMaps, row: int, categories: int) -> AttentionMaps:
    """Return the attention of one image of a batch, without columns of padding."""
    return AttentionMaps(
        attention.cross[row : row + 1, :, :categories],
        attention.self_attention[row : row + 1],
        attention.side,
        attention.valid[row : row + 1, :categories],
    )


def _counting_threads(model: DiffusionModel) -> int:
    """Return how many images are counted at a time; a GPU takes one after the other."""
    return torch.get_num_threads() if model.device.type == "cpu" else 1


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let every image keep to one thread: its matrices then stay in the caches of one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
