"""Matches segments to classes: the Hungarian matching of DiffSeg's protocol.

Segments have numbers, not names. Each class is matched to one segment so that the most pixels are
right: per image (DiffSeg's published figures), or once over a dataset (if a number means the same
in every image).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64, Integer

from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix, count_pairs

NUM_SEGMENTS = 255
"""The number of segments of an 8-bit mask: 0 to 254; 255 is the ignore label."""


def count_overlaps(
    prediction: Integer[np.ndarray, "*shape"],
    ground_truth: Integer[np.ndarray, "*shape"],
    *,
    num_classes: int,
    ignore_index: int = 255,
) -> Int64[np.ndarray, "classes+1 segments+1"]:
    """Return the number of pixels by true class and segment.

    The last row holds the pixels that the ground truth ignores, the last column the pixels of no
    segment. DataError as in `count_pairs`.
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
    """Return the confusion matrix of segments, each named by the class that it is matched to.

    Every class gets one segment. The candidates are the segments from 0 to the last one of the
    mask, and at least as many as there are classes. So a class without pixels in the ground truth
    can get a number without counted pixels. It gets a segment with counted pixels only if no empty
    number is left, or if the algorithm chooses so between equals; then these pixels are false
    positives. Pixels of no segment or of an unmatched segment are undecided.

    Args:
        overlaps: the result of `count_overlaps`, of one image or summed over several.
        labels: the classes to match; None means all.
        ignore_index: the ignore label of the returned matrix.
    """
    from scipy.optimize import (
        linear_sum_assignment,
    )  # takes half a second, and few evaluations need it

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
