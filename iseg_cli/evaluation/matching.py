"""Which class a segment without a name stands for: Hungarian matching (DiffSeg's protocol).

Segments are numbered, not named. They are matched to classes one to one so that as many pixels as
possible are right: per image (DiffSeg's published figures) or once over a whole dataset (where a
number means the same in every image).
"""

import numpy as np
from jaxtyping import Int64, Integer

from iseg_cli.evaluation.confusion import ConfusionMatrix, count_pairs

NUM_SEGMENTS = 255
"""Segments are 0 to 254 in an 8-bit mask; 255 is the ignore label."""


def count_overlaps(
    prediction: Integer[np.ndarray, "*shape"],
    truth: Integer[np.ndarray, "*shape"],
    *,
    num_classes: int,
    ignore_index: int = 255,
) -> Int64[np.ndarray, "classes segments+1"]:
    """Count pixels by true class and segment; the last column is those of no segment.

    DataError as for `ConfusionMatrix.update`.
    """
    return count_pairs(
        truth, prediction, rows=num_classes, columns=NUM_SEGMENTS, ignore_index=ignore_index
    )


def match_segments(
    overlaps: Int64[np.ndarray, "classes segments"],
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Return the classes and the segments matched to them, one to one, most pixels right in all.

    With no more segments than classes every segment gets a class, as in DiffSeg's code: one whose
    pixels other segments won stands for a class that is left and counts as a false find of it.
    """
    from scipy.optimize import linear_sum_assignment  # half a second that few evaluations need

    present = np.flatnonzero(overlaps.any(axis=0))
    classes, columns = linear_sum_assignment(overlaps[:, present], maximize=True)
    return classes, present[columns]


def match(
    overlaps: Int64[np.ndarray, "classes segments+1"], *, ignore_index: int = 255
) -> ConfusionMatrix:
    """Return the confusion matrix of segments called by the classes they are matched to.

    Pixels of segments beyond the number of classes, and pixels of no segment, are undecided:
    errors of their true class.
    """
    segments = overlaps[:, :-1]
    matrix = ConfusionMatrix(len(overlaps), ignore_index)
    classes, matched = match_segments(segments)
    matrix.counts[:, classes] = segments[:, matched]
    matrix.undecided = overlaps.sum(axis=1) - matrix.counts.sum(axis=1)
    return matrix
