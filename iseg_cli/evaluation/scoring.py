"""Adds up masks against ground truth, in as many processes as are asked for.

A worker is handed a few images at a time with all that their truth needs, and hands back counts:
neither the number of images nor the size of a dataset's annotations decides what it holds. Counts
are integers, so that their sum is the same whoever counted what. An image that cannot be scored is
in no count; what is wrong with it is handed back beside the counts.
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

PART = 16
"""Images that a worker is handed at a time: enough to be worth the way, few enough to wait for."""

WORTH_A_PROCESS = 128_000_000
"""Pixels that take twice as long to score as a process takes to start (a second against half)."""

_THREADS = 4  # of a single process: decoding leaves Python's lock to the others


@dataclass(frozen=True)
class Part:
    """Some of the images to score, with all that it takes to score them.

    Attributes:
        reader: knows the truth of these images.
        paths: their masks by image id.
        matching: `none`, `image` or `dataset`.
        crop_side: masks are compared with the middle square of the truth, brought to this side;
            None: with all of it.
        legend: what the values and colours of the masks mean; None: the values alone count.
    """

    reader: Reader
    paths: Mapping[str, Path]
    matching: str
    crop_side: int | None
    legend: Legend | None = None


@dataclass(frozen=True, eq=False)
class Counts:
    """What was counted on a part of the images.

    Attributes:
        pairs: pixels by true class (rows) and by predicted class; the last column is undecided
            pixels. With matching `dataset`: as `count_overlaps` returns them.
        ignored: pixels that the truth ignores.
        faults: what is wrong with the images that are in no count, by image id.
        by_color: the files, masks or ground truth, that were read by their colours.
        from_bits: those of 1 bit whose white pixels were read as label 1.
    """

    pairs: Int64[np.ndarray, "rows columns"]
    ignored: int
    faults: Mapping[str, IsegError]
    by_color: frozenset[Path]
    from_bits: frozenset[Path]


@dataclass(frozen=True, eq=False)
class Score:
    """What was counted on all images.

    Attributes:
        matrix: pixels by true and predicted class.
        ignored: pixels that the truth ignores.
        faults: what is wrong with the images that are in no count, by image id.
        by_color: the files, masks or ground truth, that were read by their colours.
        from_bits: those of 1 bit whose white pixels were read as label 1.
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
) -> Score:
    """Count the masks at `paths` by image id, matched as `matching` says.

    `legend` says what the masks' values and colours mean. With `crop_side` they are compared with
    the middle square of the truth, brought to this side. More than one of `workers` are processes;
    the result is the same for any number.
    """
    parts = (
        Part(reader.part(ids), {i: paths[i] for i in ids}, matching, crop_side, legend)
        for ids in batches(paths, PART)
    )
    total = np.zeros(_shape(reader, matching), dtype=np.int64)
    ignored = 0
    faults: dict[str, IsegError] = {}
    by_color: frozenset[Path] = frozenset()
    from_bits: frozenset[Path] = frozenset()
    # disable=None: no bar where standard error is no terminal
    with tqdm(total=len(paths), unit="image", disable=None) as bar:
        for counts in _map_parts(parts, workers):
            total += counts.pairs
            ignored += counts.ignored
            faults |= counts.faults
            by_color |= counts.by_color
            from_bits |= counts.from_bits
            bar.update(min(PART, len(paths) - bar.n))
    if matching == "dataset":
        matrix = match(total, labels=tuple(reader.label_set.names))
    else:
        matrix = ConfusionMatrix.of_pairs(total)
    return Score(matrix, ignored, faults, by_color, from_bits)


def count_part(part: Part) -> Counts:
    """Return how often each true class met each class, or each segment that waits for a match."""
    total = np.zeros(_shape(part.reader, part.matching), dtype=np.int64)
    ignored = 0
    faults: dict[str, IsegError] = {}
    by_color, from_bits = set[Path](), set[Path]()
    for image_id, path in part.paths.items():
        try:
            ground_truth, prediction = _read_pair(part, image_id, path)
        except IsegError as error:
            faults[image_id] = error
            continue
        by_color |= {path} if prediction.by_color else set()
        from_bits |= {path} if prediction.from_bits else set()
        total += _count(part, ground_truth, Mask(prediction.labels))
        ignored += int(np.count_nonzero(ground_truth.labels == IGNORE))
    by_color |= part.reader.read_by_color
    from_bits |= part.reader.read_from_bits
    return Counts(total, ignored, faults, frozenset(by_color), frozenset(from_bits))


def suitable_workers(images: int, size: tuple[int, int]) -> int:
    """Return how many processes score some images of (height, width) `size` soonest.

    One, with its threads, for as long as others would take longer to start than to do their
    share; at most one for every core.
    """
    height, width = size
    return max(1, min(available_cores(), images * height * width // WORTH_A_PROCESS))


def _map_parts(parts: Iterable[Part], workers: int) -> Iterator[Counts]:
    """Yield the counts of the parts in their order, so that faults are in the images' order."""
    if workers == 1:
        with ThreadPoolExecutor(_THREADS) as threads:
            yield from map_ahead(threads, count_part, parts, ahead=2 * _THREADS)
        return
    try:
        with Processes(workers) as processes:
            yield from map_ahead(processes, count_part, parts, ahead=2 * workers)
    except BrokenProcessPool as error:
        raise PredictionsError(
            "a process that scored masks was ended from outside, perhaps for want of memory; "
            f"pass fewer than --workers {workers}"
        ) from error


def _shape(reader: Reader, matching: str) -> tuple[int, int]:
    """Return the shape of the counts of a part."""
    classes = reader.label_set.num_classes
    return (classes + 1, NUM_SEGMENTS + 1) if matching == "dataset" else (classes, classes + 1)


def _read_pair(part: Part, image_id: str, path: Path) -> tuple[Mask, Decoded]:
    """Return an image's truth and its mask, which fit each other; else an IsegError says why."""
    whole = part.reader.ground_truth(image_id)
    ground_truth = crop_ground_truth(whole, part.crop_side) if part.crop_side else whole
    decoded = decode_mask(path, part.legend)
    prediction = Mask(decoded.labels)
    _require_size(prediction, ground_truth, path)
    if part.matching == "none":
        _require_labels(prediction, part.reader, path)
    return ground_truth, decoded


def _count(part: Part, ground_truth: Mask, prediction: Mask) -> Int64[np.ndarray, "rows columns"]:
    classes = part.reader.label_set.num_classes
    if part.matching == "none":
        return count_pairs(
            ground_truth.labels,
            prediction.labels,
            rows=classes,
            columns=classes,
            ignore_index=IGNORE,
        )
    overlaps = count_overlaps(prediction.labels, ground_truth.labels, num_classes=classes)
    if part.matching == "dataset":
        return overlaps
    return match(overlaps, labels=tuple(part.reader.label_set.names)).pairs


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
            f"{path} has label {min(unknown)}, which label set {reader.label_set.name} lacks; are "
            "these masks of another dataset, or segments that need --matching?"
        )
