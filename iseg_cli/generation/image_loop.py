"""The loop over images: decode ahead in threads, work in batches, write behind in threads.

`iseg generate`, `iseg tag` and `iseg sweep` share it. Its queues are bounded, so memory does not
grow with the dataset.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from iseg_cli.execution.image_faults import IMAGE_FAULTS, reason_of
from iseg_cli.execution.iteration import batches, map_ahead
from iseg_cli.readers.base import Reader
from iseg_cli.readers.decoding import DecodedImage, decode_image
from iseg_cli.types import Sample

P = TypeVar("P")

WriteTask = Callable[[], None]
"""Writes an image's results; a thread of the loop calls it."""


@dataclass(frozen=True)
class FailedImage:
    """An image that cannot be used, and the reason in one sentence."""

    image_id: str
    reason: str


def run_image_loop(
    reader: Reader,
    image_ids: Iterable[str],
    *,
    prepare: Callable[[Sample, DecodedImage], P],
    process: Callable[[list[P]], Iterable[WriteTask]],
    fail: Callable[[FailedImage], None],
    select: Callable[[Iterator[P]], Iterator[P]] = iter,
    batch_size: int,
    threads: int,
) -> None:
    """Take the images of a split through a model.

    Args:
        reader: the split.
        image_ids: the images, in their order.
        prepare: makes an image ready for the model; called in a thread. What it raises of
            `IMAGE_FAULTS` fails that image alone.
        process: runs the model on a batch; returns what writes the results of its images.
        fail: gets each image that cannot be decoded or prepared, as soon as its turn comes.
        select: yields the prepared images that go into batches, in their order.
        batch_size: how many images a batch has at most.
        threads: how many threads decode; as many others write.

    Raises:
        IsegError: an error of `select`, `process` or a write task; it ends the loop.
    """

    def decode(image_id: str) -> P | FailedImage:
        try:
            sample = reader.sample(image_id)
            return prepare(sample, decode_image(sample.image_path))
        except IMAGE_FAULTS as error:
            return FailedImage(image_id, reason_of(error))

    def usable(prepared: Iterator[P | FailedImage]) -> Iterator[P]:
        for item in prepared:
            if isinstance(item, FailedImage):
                fail(item)
            else:
                yield item

    ahead = threads + 2 * batch_size
    with (
        ThreadPoolExecutor(threads, "decode") as decoders,
        ThreadPoolExecutor(threads, "write") as writers,
    ):
        written: deque[Future[None]] = deque()
        prepared = usable(map_ahead(decoders, decode, image_ids, ahead))
        for batch in batches(select(prepared), batch_size):
            written.extend(writers.submit(task) for task in process(batch))
            while written and (written[0].done() or len(written) > 2 * ahead):
                written.popleft().result()  # a file that cannot be written ends the loop
        for future in written:
            future.result()
