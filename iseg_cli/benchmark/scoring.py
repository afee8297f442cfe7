"""How fast `iseg evaluate` is beside other people's counting of the same masks.

Everybody reads the same PNG files, once each and after they were read before, so that no side
waits for the disk that another has spared. What is timed of iseg is all of an evaluation, the start
of its processes and the writing of its report among it; of the others, reading and counting alone.
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
"""Label ids 0 to 33 of Cityscapes: its script knows no others."""

CITYSCAPES_SCRIPT = "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"

R = TypeVar("R")
Counts = Int64[np.ndarray, "truth prediction"]
Pairs = Sequence[tuple[Path, Path]]
"""Files of truth and prediction."""


@dataclass(frozen=True)
class OtherSpeed:
    """What somebody else's counting took.

    Attributes:
        name: whose it is.
        least_ratio: how many times as long it is meant to take as iseg.
        seconds: for all masks; None where it is not installed.
        equal: whether its counts are iseg's to the last pixel; None where it is not installed.
        note: what else there is to know.
    """

    name: str
    least_ratio: float
    seconds: float | None
    equal: bool | None
    note: str


@dataclass(frozen=True)
class ScoringResult:
    """What scoring the same masks took.

    Attributes:
        masks: how many were compared with their truth.
        size: their (height, width) in pixels.
        workers: the processes that iseg used.
        file_bytes: of all the masks and their truth.
        reading: seconds that reading the files takes, without decoding them.
        seconds: that iseg took.
        others: the others, in the order in which they ran.
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
        """How many masks iseg scores in a second."""
        return self.masks / self.seconds

    def ratio(self, other: OtherSpeed) -> float | None:
        """Return how many times as long as iseg another took; None where it did not run."""
        return None if other.seconds is None else other.seconds / self.seconds

    @property
    def passed(self) -> bool:
        """Whether those that ran counted the same and took as long as they are meant to."""
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
    """Make masks in a temporary folder, and time how long each side takes to count them.

    Args:
        masks: how many.
        size: their (height, width) in pixels.
        workers: processes of iseg; None: as many as `iseg evaluate` would start.
        seed: the same one gives the same masks.
        others: whom to compare with; 10,000 masks are too many for some.
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
    # The masks stand in for the images they were made of: all that is read of those is their size.
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
    """Add up scikit-learn's confusion matrices."""
    from sklearn.metrics import confusion_matrix

    total = np.zeros((LABELS, LABELS), dtype=np.int64)
    for ground_truth, prediction in pairs:
        labels = (np.asarray(Image.open(path)).ravel() for path in (ground_truth, prediction))
        total += confusion_matrix(*labels, labels=range(LABELS))
    return total


def _count_cityscapes(pairs: Pairs) -> Counts:
    """Let the benchmark's script evaluate pair by pair, without the instances it would score."""
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
        importlib.import_module(other.module)  # not on their time
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
