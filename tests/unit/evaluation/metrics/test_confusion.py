"""The confusion matrix against scikit-learn, Cityscapes' own script and cases counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import confusion_matrix

from iseg_cli.errors import DataError
from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix

nan = np.nan


def matrix_of(prediction, truth, num_classes, **options) -> ConfusionMatrix:
    matrix = ConfusionMatrix(num_classes, **options)
    matrix.update(np.array(prediction), np.array(truth))
    return matrix


def test_a_case_counted_by_hand():
    truth = [[0, 0, 0, 0], [1, 1, 1, 255], [2, 2, 255, 255]]
    prediction = [[0, 0, 1, 1], [1, 1, 0, 1], [0, 1, 2, 0]]
    matrix = matrix_of(prediction, truth, 4)
    assert matrix.counts.dtype == np.int64
    np.testing.assert_array_equal(
        matrix.counts, [[2, 2, 0, 0], [1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    )
    # class 0: 2 right of 4 true and 4 predicted; class 1: 2 of 3 and 5; class 2: 0 of 2 and 0
    np.testing.assert_allclose(matrix.iou(), [2 / 6, 2 / 6, 0, nan])
    np.testing.assert_allclose(matrix.accuracy(), [2 / 4, 2 / 3, 0, nan])
    assert matrix.miou() == pytest.approx((2 / 6 + 2 / 6 + 0) / 3, abs=1e-15)
    assert matrix.mean_accuracy() == pytest.approx((2 / 4 + 2 / 3 + 0) / 3, abs=1e-15)
    assert matrix.pixel_accuracy() == 4 / 9


def test_a_class_only_in_the_prediction_scores_zero_and_has_no_accuracy():
    matrix = matrix_of([0, 1], [0, 0], 3)
    np.testing.assert_array_equal(matrix.iou(), [0.5, 0.0, nan])
    np.testing.assert_array_equal(matrix.accuracy(), [0.5, nan, nan])
    assert matrix.miou() == 0.25
    assert matrix.mean_accuracy() == 0.5


def test_an_undecided_pixel_is_an_error_of_its_true_class_only():
    matrix = matrix_of([0, 0, 255, 1, 255], [0, 0, 0, 1, 255], 2)
    np.testing.assert_array_equal(matrix.counts, [[2, 0], [0, 1]])
    np.testing.assert_array_equal(matrix.undecided, [1, 0])
    np.testing.assert_allclose(matrix.iou(), [2 / 3, 1])
    np.testing.assert_allclose(matrix.accuracy(), [2 / 3, 1])
    assert matrix.pixel_accuracy() == 3 / 4


def test_nothing_counted_is_no_number():
    for matrix in (ConfusionMatrix(3), matrix_of([0, 1], [255, 255], 3)):
        assert matrix.counts.sum() == 0
        assert np.isnan([matrix.miou(), matrix.mean_accuracy(), matrix.pixel_accuracy()]).all()


def labels(shape, num_classes):
    return hnp.arrays(np.uint8, shape, elements=st.sampled_from([*range(num_classes), 255]))


@given(st.data(), st.integers(1, 6), hnp.array_shapes(min_dims=1, max_dims=3, max_side=8))
def test_counts_are_scikit_learns(data, num_classes, shape):
    truth = data.draw(labels(shape, num_classes))
    prediction = data.draw(labels(shape, num_classes))
    matrix = matrix_of(prediction, truth, num_classes)
    counted = truth != 255
    everything = [*range(num_classes), 255]
    if not counted.any():  # scikit-learn refuses empty input
        assert matrix.counts.sum() == matrix.undecided.sum() == 0
        return
    expected = confusion_matrix(truth[counted], prediction[counted], labels=everything)
    np.testing.assert_array_equal(matrix.counts, expected[:-1, :-1])
    np.testing.assert_array_equal(matrix.undecided, expected[:-1, -1])


@given(st.data(), st.integers(0, 30))
def test_parts_add_up_to_the_whole(data, cut):
    truth, prediction = data.draw(labels(30, 4)), data.draw(labels(30, 4))
    whole = matrix_of(prediction, truth, 4)
    parts = matrix_of(prediction[:cut], truth[:cut], 4) + matrix_of(
        prediction[cut:], truth[cut:], 4
    )
    updated = matrix_of(prediction[:cut], truth[:cut], 4)
    updated.update(prediction[cut:], truth[cut:])
    for other in (parts, updated):
        np.testing.assert_array_equal(other.counts, whole.counts)
        np.testing.assert_array_equal(other.undecided, whole.undecided)


def test_adding_leaves_both_sides_as_they_were():
    left, right = matrix_of([0], [0], 2), matrix_of([1], [0], 2)
    total = left + right
    total.update(np.array([1]), np.array([1]))
    assert (left.counts.sum(), right.counts.sum(), total.counts.sum()) == (1, 1, 3)
    with pytest.raises(ValueError, match="different classes"):
        left + ConfusionMatrix(3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.uint32, np.int64])
def test_any_integer_type_will_do(dtype):
    truth = np.array([0, 1, 2, 2], dtype=dtype)
    prediction = np.array([0, 2, 2, 1], dtype=np.uint8)
    np.testing.assert_array_equal(
        matrix_of(prediction, truth, 3).counts, [[1, 0, 0], [0, 0, 1], [0, 1, 1]]
    )


@pytest.mark.parametrize(
    ("prediction", "truth", "sentence"),
    [
        ([0, 3], [0, 1], "prediction has label 3"),
        ([0, -1], [0, 1], "prediction has label -1"),
        ([0, 1], [0, 3], "ground truth has label 3"),
        ([0, 1], [-1, 0], "ground truth has label -1"),
        ([0.0, 1.0], [0, 1], "float64 values"),
        ([True, False], [0, 1], "bool values"),
        ([0, 1, 1], [0, 1], r"size \(3,\) is not the ground truth's \(2,\)"),
        ([[0], [1]], [[0, 1]], "size"),
    ],
)
def test_what_cannot_be_counted_is_refused_and_changes_nothing(prediction, truth, sentence):
    matrix = ConfusionMatrix(3)
    with pytest.raises(DataError, match=sentence):
        matrix.update(np.array(prediction), np.array(truth))
    assert matrix.counts.sum() == 0


def test_another_ignore_label_may_lie_among_the_classes():
    matrix = matrix_of([0, 1, 2, 2], [0, 1, 1, 0], 3, ignore_index=0)
    np.testing.assert_array_equal(matrix.counts, [[0, 0, 0], [0, 1, 1], [0, 0, 0]])
    assert matrix_of([0], [1], 3, ignore_index=0).undecided[1] == 1


def test_counts_do_not_overflow_at_the_size_of_a_dataset():
    truth = np.zeros((512, 512), np.uint8)
    matrix = matrix_of(truth, truth, 2)
    for _ in range(18):
        matrix = matrix + matrix
    assert matrix.counts[0, 0] == 2**36
    assert matrix.pixel_accuracy() == 1.0


@pytest.mark.filterwarnings("ignore")  # cityscapesscripts' own
def test_iou_is_that_of_cityscapes_script():
    from cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling import (
        args,
        getIouScoreForLabel,
        getScoreAverage,
    )
    from cityscapesscripts.helpers.labels import labels as city_labels
    from cityscapesscripts.helpers.labels import trainId2label

    rng = np.random.default_rng(5)
    truth = rng.integers(0, 19, (64, 48)).astype(np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 19, truth.shape))
    truth[rng.random(truth.shape) < 0.1] = 255
    truth[truth == 16] = 255  # a train that is only predicted
    truth[truth == 15], prediction[prediction == 15] = 255, 0  # a bus in neither
    matrix = matrix_of(prediction.astype(np.uint8), truth, 19)

    # The script wants label ids: train id 0, the road, is label id 7; ignored pixels are label 0.
    to_id = np.zeros(256, np.int64)
    to_id[:19] = [trainId2label[i].id for i in range(19)]
    counts = confusion_matrix(
        to_id[truth].ravel(), to_id[prediction].ravel(), labels=range(len(city_labels) - 1)
    )
    args.evalLabels = [label.id for label in city_labels if label.id >= 0]
    expected = [
        getIouScoreForLabel(int(to_id[i]), counts.astype(np.ulonglong), args) for i in range(19)
    ]
    assert np.isnan(expected[15])
    assert expected[16] == 0
    np.testing.assert_allclose(matrix.iou(), expected, atol=1e-9, rtol=0)
    names = {trainId2label[i].name: expected[i] for i in range(19)}
    script_mean = getScoreAverage(names, args)
    assert matrix.miou() == pytest.approx(script_mean, abs=1e-9)
