"""The images of a split in, their masks and other outputs out.

`MaskGenerator` runs in the process that has the model; every engine uses it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from iseg_cli.errors import BatchMemoryError, NameRefusedError, PromptError
from iseg_cli.execution.batch_size import grid_side, lack_of_memory
from iseg_cli.execution.iteration import ahead_of, batches
from iseg_cli.generation.image_loop import WriteTask, run_image_loop
from iseg_cli.image_labels import ImageLabeler
from iseg_cli.readers.base import Reader
from iseg_cli.readers.decoding import DecodedImage
from iseg_cli.readers.middle_square import middle_square
from iseg_cli.segmentation.batch_segmenter import BatchSegmenter, Pending, Segmentation
from iseg_cli.segmentation.segmenter import fit_input, label_values
from iseg_cli.storage import ImageRecord, RunPaths
from iseg_cli.storage.writers import ImageOutput, OutputWriter
from iseg_cli.types import Category, LabelSet, Mask, Sample

LOOKAHEAD = 4
"""How many batches have known categories before the first of them is segmented."""

OnRecord = Callable[[ImageRecord], None]
"""Gets the record of an image whose files are written; several threads call it."""


@dataclass(frozen=True, eq=False)
class ImageToSegment:
    """A decoded image, ready for the model.

    Attributes:
        sample: the image.
        categories: the categories to segment, once they are known.
        pixels: the image at the model's size.
        size: (height, width) of its mask.
        orientation: its EXIF orientation, 2 to 8, if it is not upright in the file.
        picture: the pixels under the mask, if a writer needs them.
        for_labeler: the labeler's view of the image, until the categories are known.
    """

    sample: Sample
    categories: tuple[Category, ...]
    pixels: UInt8[np.ndarray, "side side 3"]
    size: tuple[int, int]
    orientation: int | None
    picture: UInt8[np.ndarray, "height width 3"] | None
    for_labeler: Any


class MaskGenerator:
    """Segments images and writes their outputs.

    Attributes:
        reader: the split of the dataset.
        labeler: returns the image-level labels.
        segmenter: segments batches.
        paths: the paths in the output folder.
        writers: write the outputs of an image, in this order; the writer of masks is the last.
        label_set: what the labels of the masks mean: the dataset's classes or numbered segments.
    """

    def __init__(
        self,
        reader: Reader,
        labeler: ImageLabeler,
        segmenter: BatchSegmenter,
        paths: RunPaths,
        writers: Sequence[OutputWriter],
        *,
        label_set: LabelSet,
    ) -> None:
        self.reader, self.labeler, self.segmenter = reader, labeler, segmenter
        self.paths, self.writers, self.label_set = paths, writers, label_set

    def run(self, image_ids: Iterable[str], on_record: OnRecord) -> None:
        """Segment images, write their outputs, and deliver each image's record afterwards.

        An image that cannot be segmented is delivered as failed, and its earlier mask is removed.

        Raises:
            IsegError: an error that ends the whole run: no memory for a batch, a full disk.
        """
        run_image_loop(
            self.reader,
            image_ids,
            prepare=self._prepare,
            select=partial(self._select, on_record=on_record),
            process=partial(self._process, on_record=on_record),
            fail=lambda failed: self.fail(failed.image_id, failed.reason, on_record),
            batch_size=self.segmenter.batch_size,
            threads=self.segmenter.settings.runtime.workers,
        )

    def fail(self, image_id: str, reason: str, on_record: OnRecord) -> None:
        """Deliver an image as failed, and remove its earlier mask."""
        self.paths.require_there()
        self.writers[-1].remove(image_id)
        on_record(ImageRecord(image_id, None, (), "failed", reason))

    def _prepare(self, sample: Sample, decoded: DecodedImage) -> ImageToSegment:
        """Return an image at the model's size, with what the labeler needs of it."""
        settings, image = self.segmenter.settings, decoded.pixels
        if settings.crop == "center":
            image = middle_square(image)
        for_labeler = self.labeler.prepare(sample, image)
        pixels, size = fit_input(image, settings, self.segmenter.model.image_size)
        picture = None
        if any(writer.needs_picture for writer in self.writers):
            picture = image if image.shape[:2] == size else pixels
        return ImageToSegment(sample, (), pixels, size, decoded.orientation, picture, for_labeler)

    def _select(
        self, prepared: Iterator[ImageToSegment], *, on_record: OnRecord
    ) -> Iterator[ImageToSegment]:
        """Yield the images that the model can segment, several batches after they are labelled."""
        usable = self._usable(self._labelled(prepared), on_record)
        return ahead_of(usable, LOOKAHEAD * self.segmenter.batch_size)

    def _labelled(self, prepared: Iterable[ImageToSegment]) -> Iterator[ImageToSegment]:
        """Yield the images with their categories."""
        for batch in batches(prepared, self.labeler.batch_size):
            found = self.labeler.label_batch([item.for_labeler for item in batch])
            for item, categories in zip(batch, found, strict=True):
                yield replace(item, categories=categories, for_labeler=None)

    def _usable(
        self, labelled: Iterable[ImageToSegment], on_record: OnRecord
    ) -> Iterator[ImageToSegment]:
        """Yield the images whose categories fit the text encoder; deliver the others as failed."""
        for item in labelled:
            try:
                self.segmenter.check(item.categories)
                self.segmenter.prefetch_texts([item.categories])
            except PromptError as error:
                self.fail(item.sample.image_id, str(error), on_record)
                continue
            yield item

    def _process(self, batch: list[ImageToSegment], *, on_record: OnRecord) -> Iterator[WriteTask]:
        """Begin to segment a batch; yield what waits for each image and writes its outputs."""
        pending = self._begin(batch)
        for index, item in enumerate(batch):
            yield partial(self._write, item, partial(pending, index), on_record)

    def _begin(self, batch: Sequence[ImageToSegment]) -> Callable[[int], Segmentation]:
        """Begin to segment a batch; an image that lacks the categories it needs costs nothing.

        Returns:
            A function that waits for the segmentation of the batch's i-th image.
        """
        named = [
            index
            for index, item in enumerate(batch)
            if item.categories or not self.segmenter.needs_categories
        ]
        pending: Pending = list
        if named:
            try:
                pending = self.segmenter.begin_batch(
                    np.stack([batch[index].pixels for index in named]),
                    [batch[index].categories for index in named],
                    [batch[index].size for index in named],
                    self.label_set,
                )
            except torch.OutOfMemoryError:
                size = self.segmenter.batch_size
                message = lack_of_memory(size, self.segmenter.model.device)
                raise BatchMemoryError(message, size) from None

        def result(index: int) -> Segmentation:
            if index not in named:
                return self._background(batch[index])
            return pending()[named.index(index)]

        return result

    def _background(self, item: ImageToSegment) -> Segmentation:
        """Return the segmentation of an image without categories: all background."""
        value = label_values((), self.label_set)[0]
        side = grid_side(self.segmenter.model, self.segmenter.settings)
        return Segmentation(
            Mask(np.full(item.size, value, dtype=np.uint8)),
            np.zeros((0, side, side), dtype=np.float16),
            (),
        )

    def _write(
        self, item: ImageToSegment, wait: Callable[[], Segmentation], on_record: OnRecord
    ) -> None:
        """Write an image's outputs, its mask last, and deliver its record."""
        image_id, result = item.sample.image_id, wait()
        if result.fault is not None:
            self.fail(image_id, result.fault, on_record)
            return
        output = ImageOutput(
            image_id,
            result.mask,
            result.scores,
            result.score_labels,
            item.picture,
            self.label_set,
        )
        try:
            self.paths.require_there()
            for writer in self.writers:
                writer.write(output)
        except NameRefusedError as error:
            self.fail(image_id, str(error), on_record)
            return
        names = tuple(category.name for category in item.categories)
        has_nothing = self.segmenter.needs_categories and not item.categories
        on_record(
            ImageRecord(
                image_id,
                item.size,
                names,
                "empty" if has_nothing else "done",
                exif_orientation=item.orientation,
            )
        )
