"""What is suspicious about counts: labels that a common mistake leaves in all masks."""

import numpy as np

from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix

_ADVICE = "a mask of 0 and 255 must be written with the class's label in place of 255"


def suspicions(
    matrix: ConfusionMatrix, *, ignored: int, background: int | None, named: bool
) -> list[str]:
    """Return what a user should know about the labels in truth and masks, a sentence each.

    Args:
        matrix: the counts of all images.
        ignored: how many pixels the truth ignores.
        background: the label of the background; None where there is none.
        named: whether the labels of the masks are classes, not segments.
    """
    in_truth = _present(matrix.counts.sum(axis=1) + matrix.undecided)
    if not in_truth - {0}:
        if not ignored:
            return []
        held = "only the labels 0 and 255" if in_truth else "only the label 255"
        return [f"the ground truth of all images holds {held}, and 255 is not counted; {_ADVICE}"]
    predicted = _present(matrix.counts.sum(axis=0))
    if not named or predicted - {0}:
        return []
    if matrix.undecided.any():
        held = "only the labels 0 and 255" if predicted else "only the label 255"
        return [f"the masks of all images hold {held}, and 255 means undecided; {_ADVICE}"]
    if background == 0:
        return ["the masks of all images hold only background; no class is found in any of them"]
    return []


def _present(pixels: np.ndarray) -> set[int]:
    """Return the labels that have pixels."""
    return set(np.flatnonzero(pixels).tolist())
