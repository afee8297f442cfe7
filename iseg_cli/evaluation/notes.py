"""Notes of an evaluation: how files were read, and labels that suggest a common mistake."""

from collections.abc import Mapping

import numpy as np

from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix
from iseg_cli.label_images.legend import bits_words
from iseg_cli.types import LabelSet

_FILES = {
    "masks": ("mask", "masks"),
    "ground_truth": ("file of ground truth", "files of ground truth"),
}
"""The words for one file and for several files of a kind."""

_ADVICE = "a mask of 0 and 255 must hold the label of the class in place of 255"


def suspicions(
    matrix: ConfusionMatrix, *, ignored: int, background: int | None, named: bool
) -> list[str]:
    """Return sentences about labels in ground truth and masks that suggest a mistake.

    Args:
        matrix: the counts of all images.
        ignored: how many pixels the ground truth ignores.
        background: the label of the background; None if there is none.
        named: whether the labels of the masks are classes, not segments.
    """
    in_ground_truth = _present(matrix.counts.sum(axis=1) + matrix.undecided)
    if not in_ground_truth - {0}:
        if not ignored:
            return []
        held = "only the labels 0 and 255" if in_ground_truth else "only the label 255"
        return [f"the ground truth of all images holds {held}, and 255 is not counted; {_ADVICE}"]
    predicted = _present(matrix.counts.sum(axis=0))
    if not named or predicted - {0}:
        return []
    if matrix.undecided.any():
        held = "only the labels 0 and 255" if predicted else "only the label 255"
        return [f"the masks of all images hold {held}, and 255 means undecided; {_ADVICE}"]
    if background == 0:
        return ["the masks of all images hold only background; no image has a pixel of a class"]
    return []


def notes_on_colors(by_color: Mapping[str, int]) -> list[str]:
    """Return a sentence that says how many files were read by their colours; none if 0 were."""
    if not by_color:
        return []
    verb = "was" if sum(by_color.values()) == 1 else "were"
    return [
        f"{_counted(by_color)} {verb} read by colour: the stored numbers are not the labels of the "
        "label set"
    ]


def notes_on_bits(from_bits: Mapping[str, int], label_set: LabelSet) -> list[str]:
    """Return a sentence that says how many files of 1 bit were read; none if 0 were."""
    if not from_bits:
        return []
    verb = "has" if sum(from_bits.values()) == 1 else "have"
    return [f"{_counted(from_bits)} {verb} 1 bit for a pixel: {bits_words(label_set)}"]


def _counted(counts: Mapping[str, int]) -> str:
    """Return `1 mask and 2 files of ground truth`."""
    return " and ".join(f"{count} {_FILES[kind][count != 1]}" for kind, count in counts.items())


def _present(pixels: np.ndarray) -> set[int]:
    """Return the labels that have pixels."""
    return set(np.flatnonzero(pixels).tolist())
