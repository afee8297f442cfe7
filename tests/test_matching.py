"""Hungarian matching: by hand, by trying every assignment, and as DiffSeg's code adds it up."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from iseg_cli.errors import DataError
from iseg_cli.evaluation.matching import count_overlaps, match, match_segments


def test_segments_take_the_classes_they_cover():
    truth = np.array([[0, 0, 0, 1], [1, 1, 2, 255]])
    segments = np.array([[40, 40, 7, 7], [7, 7, 0, 0]])
    overlaps = count_overlaps(segments, truth, num_classes=3)
    assert overlaps.shape == (3, 256)
    matrix = match(overlaps)
    np.testing.assert_array_equal(matrix.counts, [[2, 1, 0], [0, 3, 0], [0, 0, 1]])
    assert matrix.undecided.sum() == 0
    assert matrix.pixel_accuracy() == 6 / 7


def test_one_to_one_even_where_two_segments_cover_one_class():
    truth = np.array([0] * 10 + [1])
    segments = np.array([3] * 6 + [5] * 4 + [5])
    matrix = match(count_overlaps(segments, truth, num_classes=2))
    # 3 is class 0; 5 must be class 1, although it covers more of class 0
    np.testing.assert_array_equal(matrix.counts, [[6, 4], [0, 1]])


def test_the_matching_with_most_right_pixels_beats_the_greedy_one():
    overlaps = np.array([[10, 9], [9, 0]])
    classes, segments = match_segments(overlaps)
    assert dict(zip(classes.tolist(), segments.tolist(), strict=True)) == {0: 1, 1: 0}


def test_segments_beyond_the_classes_and_pixels_of_no_segment_are_errors():
    truth = np.array([0, 0, 0, 1, 1, 1, 1])
    segments = np.array([0, 0, 1, 2, 2, 2, 255])
    matrix = match(count_overlaps(segments, truth, num_classes=2))
    np.testing.assert_array_equal(matrix.counts, [[2, 0], [0, 3]])
    np.testing.assert_array_equal(matrix.undecided, [1, 1])
    np.testing.assert_allclose(matrix.iou(), [2 / 3, 3 / 4])


def test_a_segment_left_over_is_a_false_find_of_a_class_left_over():
    truth = np.array([0, 0, 0])
    segments = np.array([0, 0, 1])
    matrix = match(count_overlaps(segments, truth, num_classes=2))
    np.testing.assert_array_equal(matrix.iou(), [2 / 3, 0])


def test_a_truth_of_nothing_matches_nothing():
    matrix = match(count_overlaps(np.array([0, 1]), np.array([255, 255]), num_classes=2))
    assert matrix.counts.sum() == matrix.undecided.sum() == 0


def test_labels_outside_are_refused():
    with pytest.raises(DataError, match="ground truth has label 2"):
        count_overlaps(np.array([0]), np.array([2]), num_classes=2)
    with pytest.raises(DataError, match="prediction has label 256"):
        count_overlaps(np.array([256]), np.array([0]), num_classes=2)


@given(
    hnp.arrays(
        np.int64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.integers(0, 20)
    )
)
def test_no_assignment_is_better(overlaps):
    classes, segments = match_segments(overlaps)
    assert len(set(classes.tolist())) == len(classes)
    assert len(set(segments.tolist())) == len(segments)
    small, large = sorted(overlaps.shape)
    flat = overlaps if overlaps.shape == (small, large) else overlaps.T
    best = max(
        sum(flat[i, chosen] for i, chosen in enumerate(choice))
        for choice in permutations(range(large), small)
    )
    assert overlaps[classes, segments].sum() == best


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_counts_add_up_as_in_diffseg(seed, num_segments):
    rng = np.random.default_rng(seed)
    num_classes = 6
    truth = rng.integers(0, num_classes, (12, 12))
    prediction = np.where(rng.random(truth.shape) < 0.5, truth * 5 + 1, 0) % num_segments
    matrix = match(count_overlaps(prediction, truth, num_classes=num_classes))

    # A square histogram, truth by segment; rows and columns matched; columns put in that order.
    histogram = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(histogram, (truth.ravel(), prediction.ravel()), 1)
    rows, columns = linear_sum_assignment(histogram, maximize=True)
    true_positives = histogram[rows, columns]
    misses = histogram.sum(axis=1) - true_positives
    assert np.trace(matrix.counts) == true_positives.sum()
    assert matrix.pixel_accuracy() == true_positives.sum() / histogram.sum()
    # Which class a tied segment stands for is open: the sum over classes is not.
    assert (matrix.counts.sum(axis=1) + matrix.undecided == misses + true_positives).all()
    assert matrix.undecided.sum() == 0
