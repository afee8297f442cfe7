"""Counts the pixels of masks against ground truth, in one process or several.

A worker receives a batch of images with their annotations and returns counts. So its memory does
not grow with the number of images or with the size of the annotation file. Counts are integers:
their sum does not depend on the number of workers. An image that cannot be scored is in no count;
the worker returns its error beside the counts.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from tqdm import tqdm

from iseg_cli.errors import IsegError, PredictionsError
from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix, count_pairs
from iseg_cli.evaluation.metrics.matching import NUM_SEGMENTS, count_overlaps, match
from iseg_cli.execution.iteration import batches, map_ahead
from iseg_cli.execution.processes import Processes, available_cores
from iseg_cli.label_images import Decoded, Legend
from iseg_cli.readers.base import Reader
from iseg_cli.readers.middle_square import crop_ground_truth
from iseg_cli.storage import decode_mask
from iseg_cli.types import IGNORE, Mask

BATCH_SIZE = 16
"""Images in a batch: many enough to pay for their transfer, few enough for an even load."""

WORTH_A_PROCESS = 128_000_000
"""Pixels that take one second to score; a process takes half a second to start."""

_THREADS = 4
"""Threads of a single process: decoding releases Python's global lock."""


@dataclass(frozen=True)
class MaskBatch:
    """Some images to score, with everything that a worker needs for them.

    Attributes:
        reader: the reader of these images alone.
        paths: their masks by image id.
        matching: `none`, `image` or `dataset`.
        crop_side: the side in pixels to which the middle square of the ground truth is resized
            before it is compared; None compares all of it.
        legend: the labels of the masks' values and colours; None: the values are the labels.
    """

    reader: Reader
    paths: Mapping[str, Path]
    matching: str
    crop_side: int | None
    legend: Legend | None = None


@dataclass(frozen=True, eq=False)
class BatchCounts:
    """The counts of a batch.

    Attributes:
        pairs: pixels by true class (rows) and predicted class (columns); the last column holds
            undecided pixels. With matching `dataset`: as `count_overlaps` returns them.
        ignored: the number of pixels that the ground truth ignores.
        faults: the error of each image that is in no count, by image id.
        by_color: the files, masks or ground truth, that were read by their colours.
        from_bits: the files of 1 bit whose white pixels were read as label 1.
    """

    pairs: Int64[np.ndarray, "rows columns"]
    ignored: int
    faults: Mapping[str, IsegError]
    by_color: frozenset[Path]
    from_bits: frozenset[Path]


@dataclass(frozen=True, eq=False)
class DatasetCounts:
    """The counts of all images.

    Attributes:
        matrix: pixels by true and predicted class.
        ignored: the number of pixels that the ground truth ignores.
        faults: the error of each image that is in no count, by image id.
        by_color: the files, masks or ground truth, that were read by their colours.
        from_bits: the files of 1 bit whose white pixels were read as label 1.
    """

    matrix: ConfusionMatrix
    ignored: int
    faults: Mapping[str, IsegError]
    by_color: frozenset[Path]
    from_bits: frozenset[Path]


def score(
    paths: Mapping[str, Path],
    reader: Reader,
    matching: str,
    *,
    crop_side: int | None = None,
    workers: int = 1,
    legend: Legend | None = None,
) -> DatasetCounts:
    """Return the counts of the masks at `paths` against their ground truth.

    Args:
        paths: the masks by image id.
        reader: the reader of the ground truth.
        matching: `none`, `image` or `dataset`.
        crop_side: as in `MaskBatch`.
        workers: the number of processes; it does not change the result.
        legend: as in `MaskBatch`.

    Raises:
        PredictionsError: a worker process was killed.
    """
    mask_batches = (
        MaskBatch(reader.part(ids), {i: paths[i] for i in ids}, matching, crop_side, legend)
        for ids in batches(paths, BATCH_SIZE)
    )
    total = np.zeros(_shape(reader, matching), dtype=np.int64)
    ignored = 0
    faults: dict[str, IsegError] = {}
    by_color: frozenset[Path] = frozenset()
    from_bits: frozenset[Path] = frozenset()
    # disable=None: no bar where standard error is no terminal
    with tqdm(total=len(paths), unit="image", disable=None) as bar:
        for counts in _count_batches(mask_batches, workers):
            total += counts.pairs
            ignored += counts.ignored
            faults |= counts.faults
            by_color |= counts.by_color
            from_bits |= counts.from_bits
            bar.update(min(BATCH_SIZE, len(paths) - bar.n))
    if matching == "dataset":
        matrix = match(total, labels=tuple(reader.label_set.names))
    else:
        matrix = ConfusionMatrix.of_pairs(total)
    return DatasetCounts(matrix, ignored, faults, by_color, from_bits)


def count_batch(batch: MaskBatch) -> BatchCounts:
    """Return the counts of a batch: pixels by true class and predicted class or segment."""
    total = np.zeros(_shape(batch.reader, batch.matching), dtype=np.int64)
    ignored = 0
    faults: dict[str, IsegError] = {}
    by_color, from_bits = set[Path](), set[Path]()
    for image_id, path in batch.paths.items():
        try:
            ground_truth, prediction = _read_pair(batch, image_id, path)
        except IsegError as error:
            faults[image_id] = error
            continue
        by_color |= {path} if prediction.by_color else set()
        from_bits |= {path} if prediction.from_bits else set()
        total += _count(batch, ground_truth, Mask(prediction.labels))
        ignored += int(np.count_nonzero(ground_truth.labels == IGNORE))
    by_color |= batch.reader.read_by_color
    from_bits |= batch.reader.read_from_bits
    return BatchCounts(total, ignored, faults, frozenset(by_color), frozenset(from_bits))


def suitable_workers(images: int, size: tuple[int, int]) -> int:
    """Return the number of processes that scores images of (height, width) `size` fastest.

    It is at most the number of cores, and 1 where a second process would take longer to start than
    to do its share.
    """
    height, width = size
    return max(1, min(available_cores(), images * height * width // WORTH_A_PROCESS))


def _count_batches(mask_batches: Iterable[MaskBatch], workers: int) -> Iterator[BatchCounts]:
    """Yield the counts of the batches in their sequence, which is that of the images."""
    if workers == 1:
        with ThreadPoolExecutor(_THREADS) as threads:
            yield from map_ahead(threads, count_batch, mask_batches, ahead=2 * _THREADS)
        return
    try:
        with Processes(workers) as processes:
            yield from map_ahead(processes, count_batch, mask_batches, ahead=2 * workers)
    except BrokenProcessPool as error:
        raise PredictionsError(
            "a worker process was killed, perhaps because memory ran out; pass fewer than "
            f"--workers {workers}"
        ) from error


def _shape(reader: Reader, matching: str) -> tuple[int, int]:
    """Return the shape of `BatchCounts.pairs`."""
    classes = reader.label_set.num_classes
    return (classes + 1, NUM_SEGMENTS + 1) if matching == "dataset" else (classes, classes + 1)


def _read_pair(batch: MaskBatch, image_id: str, path: Path) -> tuple[Mask, Decoded]:
    """Return the ground truth and the mask of an image; an IsegError if they do not match."""
    whole = batch.reader.ground_truth(image_id)
    ground_truth = crop_ground_truth(whole, batch.crop_side) if batch.crop_side else whole
    decoded = decode_mask(path, batch.legend)
    prediction = Mask(decoded.labels)
    _require_size(prediction, ground_truth, path)
    if batch.matching == "none":
        _require_labels(prediction, batch.reader, path)
    return ground_truth, decoded


def _count(
    batch: MaskBatch, ground_truth: Mask, prediction: Mask
) -> Int64[np.ndarray, "rows columns"]:
    classes = batch.reader.label_set.num_classes
    if batch.matching == "none":
        return count_pairs(
            ground_truth.labels,
            prediction.labels,
            rows=classes,
            columns=classes,
            ignore_index=IGNORE,
        )
    overlaps = count_overlaps(prediction.labels, ground_truth.labels, num_classes=classes)
    if batch.matching == "dataset":
        return overlaps
    return match(overlaps, labels=tuple(batch.reader.label_set.names)).pairs


def _require_size(prediction: Mask, ground_truth: Mask, path: Path) -> None:
    if prediction.size != ground_truth.size:
        raise PredictionsError(
            f"{path} is {prediction.size[1]} wide and {prediction.size[0]} high, but its "
            f"ground truth is {ground_truth.size[1]} wide and {ground_truth.size[0]} high"
        )


def _require_labels(prediction: Mask, reader: Reader, path: Path) -> None:
    unknown = set(prediction.present()) - set(reader.label_set.names) - {IGNORE}
    if unknown:
        raise PredictionsError(
            f"{path} has label {min(unknown)}, which label set {reader.label_set.name} lacks; pass "
            "the --dataset of the masks, or --matching if their labels are segments"
        )
