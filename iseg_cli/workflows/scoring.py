"""Adds up masks against ground truth, in as many processes as are asked for.

A worker is handed a few images at a time with all that their truth needs, and hands back counts:
neither the number of images nor the size of a dataset's annotations decides what it holds. Counts
are integers, so that their sum is the same whoever counted what.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from tqdm import tqdm

from iseg_cli.errors import PredictionsError
from iseg_cli.evaluation.confusion import ConfusionMatrix, count_pairs
from iseg_cli.evaluation.matching import NUM_SEGMENTS, count_overlaps, match
from iseg_cli.label_images import Legend
from iseg_cli.readers.base import Reader
from iseg_cli.readers.crop import crop_truth
from iseg_cli.samples import IGNORE, Mask
from iseg_cli.storage import read_marked_mask
from iseg_cli.workflows.processes import Processes, available_cores
from iseg_cli.workflows.streams import batches, map_ahead

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


class Counted(NamedTuple):
    """What a part of the images adds.

    Attributes:
        pairs: how often each true class met each class or segment; the last column is of pixels
            that were left undecided.
        by_color: the masks, predicted or true, that were read by their colours.
    """

    pairs: Int64[np.ndarray, "classes columns+1"]
    by_color: frozenset[Path]


def score(
    paths: Mapping[str, Path],
    reader: Reader,
    matching: str,
    *,
    crop_side: int | None = None,
    workers: int = 1,
    legend: Legend | None = None,
    by_color: set[Path] | None = None,
) -> ConfusionMatrix:
    """Return the confusion matrix of the masks at `paths` by image id, matched as `matching` says.

    `legend` says what the masks' values and colours mean; those that were read by their colours,
    predicted or true, are added to `by_color`. With `crop_side` they are compared with the middle
    square of the truth, brought to this side. More than one of `workers` are processes.
    PredictionsError or DataError, naming the file, for the first mask or truth that does not fit,
    whatever the number of workers.
    """
    parts = (
        Part(reader.part(ids), {i: paths[i] for i in ids}, matching, crop_side, legend)
        for ids in batches(paths, PART)
    )
    total = np.zeros(_shape(reader, matching), dtype=np.int64)
    # disable=None: no bar where standard error is no terminal
    with tqdm(total=len(paths), unit="image", disable=None) as bar:
        for counted in _map_parts(parts, workers):
            total += counted.pairs
            if by_color is not None:
                by_color |= counted.by_color
            bar.update(min(PART, len(paths) - bar.n))
    return match(total) if matching == "dataset" else ConfusionMatrix.of_pairs(total)


def count_part(part: Part) -> Counted:
    """Return how often each true class met each class, or each segment that waits for a match.

    The error is of the first image that does not fit.
    """
    by_color: set[Path] = set()
    classes, columns = _shape(part.reader, part.matching)
    total = np.zeros((classes, columns), dtype=np.int64)
    for image_id, path in part.paths.items():
        whole = part.reader.truth(image_id)
        truth = crop_truth(whole, part.crop_side) if part.crop_side else whole
        prediction, is_by_color = read_marked_mask(path, part.legend)
        by_color |= {path} if is_by_color else set()
        _require_size(prediction, truth, path)
        if part.matching == "none":
            _require_labels(prediction, part.reader, path)
            total += count_pairs(
                truth.labels,
                prediction.labels,
                rows=classes,
                columns=classes,
                ignore_index=IGNORE,
            )
            continue
        overlaps = count_overlaps(prediction.labels, truth.labels, num_classes=classes)
        total += overlaps if part.matching == "dataset" else match(overlaps).pairs
    return Counted(total, frozenset(by_color | part.reader.read_by_color))


def suitable_workers(images: int, size: tuple[int, int]) -> int:
    """Return how many processes score some images of (height, width) `size` soonest.

    One, with its threads, for as long as others would take longer to start than to do their
    share; at most one for every core.
    """
    height, width = size
    return max(1, min(available_cores(), images * height * width // WORTH_A_PROCESS))


def _map_parts(parts: Iterable[Part], workers: int) -> Iterator[Counted]:
    """Yield the counts of the parts in their order, so that the first error is the first one's."""
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
    """Return the shape of the counts: classes against classes or segments, and the undecided."""
    classes = reader.label_set.num_classes
    return classes, (NUM_SEGMENTS if matching == "dataset" else classes) + 1


def _require_size(prediction: Mask, truth: Mask, path: Path) -> None:
    if prediction.size != truth.size:
        raise PredictionsError(
            f"{path} is {prediction.size[1]} wide and {prediction.size[0]} high, but its "
            f"ground truth is {truth.size[1]} wide and {truth.size[0]} high"
        )


def _require_labels(prediction: Mask, reader: Reader, path: Path) -> None:
    unknown = set(prediction.present()) - set(reader.label_set.names) - {IGNORE}
    if unknown:
        raise PredictionsError(
            f"{path} has label {min(unknown)}, which label set {reader.label_set.name} lacks; are "
            "these masks of another dataset, or segments that need --matching?"
        )
