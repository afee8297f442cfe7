"""`measure_scoring`: how fast `iseg evaluate` is, compared with other tools on the same masks.

All tools read the same PNG files. The files are read once before, so that no tool waits for the
disk. For iseg the whole evaluation is timed, with the start of its processes and its report; for
the other tools only reading and counting.
"""

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from jaxtyping import Int64
from PIL import Image

from iseg_cli.benchmark.street_masks import write_masks
from iseg_cli.evaluation.evaluate import evaluate
from iseg_cli.evaluation.scoring import suitable_workers

LABELS = 34
"""Label ids 0 to 33, as in Cityscapes; its script supports no others."""

CITYSCAPES_SCRIPT = "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"

R = TypeVar("R")
Counts = Int64[np.ndarray, "truth prediction"]
Pairs = Sequence[tuple[Path, Path]]
"""Files of ground truth and prediction."""


@dataclass(frozen=True)
class OtherSpeed:
    """The time of another tool.

    Attributes:
        name: the name of the tool.
        least_ratio: its time should be at least this many times iseg's.
        seconds: its time for all masks; None where it is not installed.
        equal: whether its counts equal iseg's at every pixel; None where it is not installed.
        note: a remark for the reader.
    """

    name: str
    least_ratio: float
    seconds: float | None
    equal: bool | None
    note: str


@dataclass(frozen=True)
class ScoringResult:
    """The times of iseg and other tools for scoring the same masks.

    Attributes:
        masks: the number of masks.
        size: their (height, width) in pixels.
        workers: the number of processes of iseg.
        file_bytes: the bytes of all files, masks and ground truth.
        reading: seconds for reading the files without decoding.
        seconds: iseg's time.
        others: the other tools, as they ran.
    """

    masks: int
    size: tuple[int, int]
    workers: int
    file_bytes: int
    reading: float
    seconds: float
    others: tuple[OtherSpeed, ...]

    @property
    def masks_per_second(self) -> float:
        """The number of masks that iseg scores in a second."""
        return self.masks / self.seconds

    def ratio(self, other: OtherSpeed) -> float | None:
        """Return another tool's time divided by iseg's; None where the tool did not run."""
        return None if other.seconds is None else other.seconds / self.seconds

    @property
    def passed(self) -> bool:
        """Whether all tools that ran have equal counts and at least their `least_ratio`."""
        return all(
            other.equal and other.seconds >= other.least_ratio * self.seconds
            for other in self.others
            if other.seconds is not None
        )


def measure_scoring(
    *,
    masks: int = 50,
    size: tuple[int, int] = (1024, 2048),
    workers: int | None = None,
    seed: int = 0,
    others: Sequence[str] = ("scikit-learn", "cityscapesScripts"),
) -> ScoringResult:
    """Return the times of iseg and other tools for scoring masks made in a temporary folder.

    Args:
        masks: the number of masks.
        size: their (height, width) in pixels.
        workers: the processes of iseg; None for the number that `iseg evaluate` would start.
        seed: the same seed gives the same masks.
        others: the tools to compare with; some are too slow for 10,000 masks.
    """
    with TemporaryDirectory(prefix="iseg-scoring-") as name:
        folder = Path(name)
        write_masks(folder, masks=masks, size=size, labels=LABELS, seed=seed)
        files = sorted((folder / "truth").iterdir())
        pairs = [(path, folder / "predictions" / path.name) for path in files]
        file_bytes = _read(pairs)
        reading, _ = _timed(lambda: _read(pairs))
        workers = workers or suitable_workers(masks, size)
        seconds, counts = _timed(lambda: _count_iseg(folder, workers))
        return ScoringResult(
            masks=masks,
            size=size,
            workers=workers,
            file_bytes=file_bytes,
            reading=reading,
            seconds=seconds,
            others=tuple(_measure_other(name, pairs, counts) for name in others),
        )


def _count_iseg(folder: Path, workers: int) -> Counts:
    # The masks also serve as images, because only the size of an image is read.
    predictions = folder / "predictions"
    report = evaluate(
        predictions,
        dataset="folder",
        root=predictions,
        ground_truth=folder / "truth",
        categories=[f"label {label}" for label in range(1, LABELS)],
        workers=workers,
    )
    return report.matrix.counts


def _count_scikit_learn(pairs: Pairs) -> Counts:
    """Return the sum of scikit-learn's confusion matrices."""
    from sklearn.metrics import confusion_matrix

    total = np.zeros((LABELS, LABELS), dtype=np.int64)
    for ground_truth, prediction in pairs:
        labels = (np.asarray(Image.open(path)).ravel() for path in (ground_truth, prediction))
        total += confusion_matrix(*labels, labels=range(LABELS))
    return total


def _count_cityscapes(pairs: Pairs) -> Counts:
    """Return the counts of Cityscapes' script, pair by pair, without scores of instances."""
    script = importlib.import_module(CITYSCAPES_SCRIPT)
    script.args.evalInstLevelScore = False
    total = script.generateMatrix(script.args)
    for ground_truth, prediction in pairs:
        script.evaluatePair(str(prediction), str(ground_truth), total, {}, {}, script.args)
    counts: np.ndarray = total.astype(np.int64)
    return counts


def _cityscapes_note() -> str:
    compiled = importlib.import_module(CITYSCAPES_SCRIPT).CSUPPORT
    return "its compiled counting" if compiled else "its counting in NumPy, as pip installs it"


@dataclass(frozen=True)
class _Other:
    module: str
    least_ratio: float
    count: Callable[[Pairs], Counts]
    note: Callable[[], str] = str


_OTHERS = {
    "scikit-learn": _Other("sklearn.metrics", 3.0, _count_scikit_learn),
    "cityscapesScripts": _Other(CITYSCAPES_SCRIPT, 1.0, _count_cityscapes, _cityscapes_note),
}


def _measure_other(name: str, pairs: Pairs, expected: Counts) -> OtherSpeed:
    other = _OTHERS[name]
    try:
        importlib.import_module(other.module)  # importing is not timed
    except ImportError:
        return OtherSpeed(name, other.least_ratio, None, None, "not installed")
    seconds, counts = _timed(lambda: other.count(pairs))
    equal = bool(np.array_equal(counts, expected))
    return OtherSpeed(name, other.least_ratio, seconds, equal, other.note())


def _read(pairs: Pairs) -> int:
    return sum(len(path.read_bytes()) for pair in pairs for path in pair)


def _timed(work: Callable[[], R]) -> tuple[float, R]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result
