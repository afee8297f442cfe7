"""Which class a segment without a name stands for: Hungarian matching (DiffSeg's protocol).

Segments are numbered, not named. They are matched to classes one to one so that as many pixels as
possible are right: per image (DiffSeg's published figures) or once over a whole dataset (where a
number means the same in every image).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64, Integer

from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix, count_pairs

NUM_SEGMENTS = 255
"""Segments are 0 to 254 in an 8-bit mask; 255 is the ignore label."""


def count_overlaps(
    prediction: Integer[np.ndarray, "*shape"],
    ground_truth: Integer[np.ndarray, "*shape"],
    *,
    num_classes: int,
    ignore_index: int = 255,
) -> Int64[np.ndarray, "classes+1 segments+1"]:
    """Count pixels by true class and segment.

    The last row counts the pixels that the truth ignores, the last column those of no segment.
    DataError as for `ConfusionMatrix.update`.
    """
    counted = count_pairs(
        ground_truth, prediction, rows=num_classes, columns=NUM_SEGMENTS, ignore_index=ignore_index
    )
    ignored = np.asarray(prediction)[np.asarray(ground_truth) == ignore_index]
    left_out = count_pairs(
        np.zeros_like(ignored),
        ignored,
        rows=1,
        columns=NUM_SEGMENTS,
        ignore_index=ignore_index,
    )
    return np.concatenate((counted, left_out))


def match(
    overlaps: Int64[np.ndarray, "classes+1 segments+1"],
    *,
    labels: Sequence[int] | None = None,
    ignore_index: int = 255,
) -> ConfusionMatrix:
    """Return the confusion matrix of segments called by the classes they are matched to.

    Every class gets one segment. The segments to choose from are those from 0 to the last one of
    the mask, and at least as many as there are classes: a number that no counted pixel has can be
    matched too, to a class that has nothing to win. So a class that is not in the truth gets a
    segment of counted pixels only where no empty number is left for it, or where the algorithm
    chooses so between equals; these pixels count as a false find of it. Pixels of segments that are
    not matched, and pixels of no segment, are undecided: errors of their true class alone.

    Args:
        overlaps: as `count_overlaps` returns them, of one image or summed over several.
        labels: the classes that take part; None: all.
        ignore_index: the ignore label of the matrix that is returned.
    """
    from scipy.optimize import linear_sum_assignment  # half a second that few evaluations need

    counted = overlaps[:-1]
    classes = np.arange(len(counted)) if labels is None else np.asarray(labels)
    numbers = np.flatnonzero(overlaps[:, :-1].any(axis=0))
    last = int(numbers[-1]) if numbers.size else -1
    candidates = counted[:, : max(len(classes), last + 1)]
    rows, matched = linear_sum_assignment(candidates[classes], maximize=True)
    matrix = ConfusionMatrix(len(counted), ignore_index)
    matrix.counts[:, classes[rows]] = candidates[:, matched]
    matrix.undecided = counted.sum(axis=1) - matrix.counts.sum(axis=1)
    return matrix
