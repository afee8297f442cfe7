"""From images to files: decode in threads, segment in batches, write in threads.

Who keeps the records is not known here, so that every engine does the same work. Queues are
bounded, so memory does not grow with the dataset.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from iseg_cli.clip.tagging import Shown, Tagger
from iseg_cli.errors import BatchMemoryError, NameRefusedError, PromptError
from iseg_cli.execution.batch_size import grid_side, lack_of_memory
from iseg_cli.execution.image_faults import IMAGE_FAULTS, reason_of
from iseg_cli.execution.iteration import ahead_of, batches, map_ahead
from iseg_cli.image_labels import LabelSource
from iseg_cli.readers.base import Reader
from iseg_cli.readers.crop import middle_square
from iseg_cli.readers.images import decode_image
from iseg_cli.segmentation.batches import BatchSegmenter, Pending, Segmentation
from iseg_cli.segmentation.segmenter import fit_input, label_values
from iseg_cli.storage import (
    ImageRecord,
    Layout,
    encode_mask,
    encode_picture,
    write_atomically,
    write_scores,
)
from iseg_cli.storage.overlays import draw_overlay
from iseg_cli.types import Category, LabelSet, Mask, Sample

LOOKAHEAD = 4
"""Batches whose categories are known before the first of them is segmented."""

OnRecord = Callable[[ImageRecord], None]
"""Takes the record of an image whose files are written; called from several threads."""


@dataclass(frozen=True)
class Extras:
    """What is written beside the masks.

    Attributes:
        overlays: pictures of image and mask with a legend, `overlays/<image_id>.jpg`.
        scores: each category's map as float16, `scores/<image_id>.npz`.
        rle: a COCO results file, or None.
    """

    overlays: bool = False
    scores: bool = False
    rle: Path | None = None


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A decoded image on its way to the model; `orientation` is that of its EXIF, if it turned."""

    sample: Sample
    categories: tuple[Category, ...]
    pixels: UInt8[np.ndarray, "side side 3"]
    size: tuple[int, int]
    orientation: int | None
    picture: UInt8[np.ndarray, "height width 3"] | None = field(default=None)
    for_clip: Shown | None = field(default=None)


@dataclass(frozen=True)
class _Failed:
    """An image that cannot be segmented, and why."""

    image_id: str
    reason: str


class Job:
    """Makes the files of images, in the process where its model is.

    Attributes:
        layout: where the files go.
        label_set: what the labels of the masks mean: the dataset's, or numbered segments.
    """

    def __init__(
        self,
        reader: Reader,
        source: LabelSource | Tagger,
        segmenter: BatchSegmenter,
        layout: Layout,
        extras: Extras,
        *,
        label_set: LabelSet,
    ) -> None:
        self.reader, self.source, self.segmenter = reader, source, segmenter
        self.layout, self.extras, self.label_set = layout, extras, label_set

    def run(self, image_ids: Iterable[str], on_record: OnRecord) -> None:
        """Make the files of the images; every image's record is delivered once they are there.

        An image that cannot be segmented is delivered as failed, and its earlier mask removed.

        Raises:
            IsegError: what ends the whole run: no memory for a batch, no room for a file.
        """
        threads = self.segmenter.settings.runtime.workers
        batch_size = self.segmenter.batch_size
        with (
            ThreadPoolExecutor(threads, "decode") as decoders,
            ThreadPoolExecutor(threads, "write") as writers,
        ):
            ahead = threads + 2 * batch_size
            prepared = map_ahead(decoders, self._prepare, image_ids, ahead)
            written: deque[Future[None]] = deque()
            usable = ahead_of(
                self._usable(self._tagged(prepared), on_record), LOOKAHEAD * batch_size
            )
            for batch in batches(usable, batch_size):
                pending = self._begin(batch)
                for index, item in enumerate(batch):
                    written.append(writers.submit(self._write, item, pending, index, on_record))
                while written and (written[0].done() or len(written) > 2 * ahead):
                    written.popleft().result()  # what cannot be written ends the run here
            for future in written:
                future.result()

    def fail(self, image_id: str, reason: str, on_record: OnRecord) -> None:
        """Deliver an image as failed, and remove its earlier mask."""
        self.layout.require_there()
        self.layout.write_mask(image_id, None)
        on_record(ImageRecord(image_id, None, (), "failed", reason))

    def _prepare(self, image_id: str) -> _Prepared | _Failed:
        """Decode an image, look up its labels and bring it to the model's size."""
        settings = self.segmenter.settings
        try:
            sample = self.reader.sample(image_id)
            image, orientation = decode_image(sample.image_path)
            categories = () if isinstance(self.source, Tagger) else self.source(sample)
            if settings.crop == "center":
                image = middle_square(image)  # CLIP sees no more of it either
            pixels, size = fit_input(image, settings, self.segmenter.model.image_size)
        except IMAGE_FAULTS as error:
            return _Failed(image_id, reason_of(error))
        picture = image if image.shape[:2] == size else pixels  # what the mask lies over
        return _Prepared(
            sample,
            categories,
            pixels,
            size,
            orientation,
            picture if self.extras.overlays else None,
            self.source.fit(image) if isinstance(self.source, Tagger) else None,
        )

    def _tagged(self, prepared: Iterable[_Prepared | _Failed]) -> Iterator[_Prepared | _Failed]:
        """Yield the images with what CLIP finds in them, if it is to look."""
        if not isinstance(self.source, Tagger):
            yield from prepared
            return
        for batch in batches(prepared, self.source.batch_size):
            shown = [item.for_clip for item in batch if isinstance(item, _Prepared)]
            found = iter(self.source.tag([image for image in shown if image is not None]))
            for item in batch:
                if isinstance(item, _Prepared):
                    yield replace(item, categories=next(found), for_clip=None)
                else:
                    yield item

    def _usable(
        self, prepared: Iterable[_Prepared | _Failed], on_record: OnRecord
    ) -> Iterator[_Prepared]:
        """Yield what the model can work on; deliver the rest as failed."""
        for item in prepared:
            if isinstance(item, _Failed):
                self.fail(item.image_id, item.reason, on_record)
                continue
            try:
                self.segmenter.check(item.categories)
                self.segmenter.prefetch_texts([item.categories])
            except PromptError as error:
                self.fail(item.sample.image_id, str(error), on_record)
                continue
            yield item

    def _begin(self, batch: Sequence[_Prepared]) -> Callable[[int], Segmentation]:
        """Begin to segment a batch; images that lack the categories they need cost nothing.

        Returns:
            What waits for the result of the batch's i-th image.
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
                return self._nothing(batch[index])
            return pending()[named.index(index)]

        return result

    def _nothing(self, item: _Prepared) -> Segmentation:
        """Return the mask of an image without categories: all background."""
        value = label_values((), self.label_set)[0]
        side = grid_side(self.segmenter.model, self.segmenter.settings)
        return Segmentation(
            Mask(np.full(item.size, value, dtype=np.uint8)),
            np.zeros((0, side, side), dtype=np.float16),
            (),
        )

    def _write(
        self,
        item: _Prepared,
        pending: Callable[[int], Segmentation],
        index: int,
        on_record: OnRecord,
    ) -> None:
        """Write an image's files, its mask last, and deliver its record: it says all is there."""
        result = pending(index)
        if result.fault is not None:
            self.fail(item.sample.image_id, result.fault, on_record)
            return
        try:
            self._write_files(item, result)
        except NameRefusedError as error:
            self.fail(item.sample.image_id, str(error), on_record)
            return
        names = tuple(category.name for category in item.categories)
        has_nothing = self.segmenter.needs_categories and not item.categories
        on_record(
            ImageRecord(
                item.sample.image_id,
                item.size,
                names,
                "empty" if has_nothing else "done",
                exif_orientation=item.orientation,
            )
        )

    def _write_files(self, item: _Prepared, result: Segmentation) -> None:
        image_id = item.sample.image_id
        self.layout.require_there()
        if item.picture is not None:
            overlay = draw_overlay(item.picture, result.mask, self.label_set)
            path = self.layout.overlay_path(image_id)
            write_atomically(path, encode_picture(overlay), below=self.layout.path)
        if self.extras.scores:
            path = self.layout.scores_path(image_id)
            write_scores(path, result.scores, result.score_labels, below=self.layout.path)
        palette = None if self.segmenter.settings.png == "grey" else self.label_set.palette
        self.layout.write_mask(image_id, encode_mask(result.mask, palette))
