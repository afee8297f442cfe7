"""The confusion matrix: integers are added up and divided once."""

import numpy as np
from jaxtyping import Float64, Int64, Integer

from iseg_cli.errors import DataError
from iseg_cli.evaluation.metrics.ratios import divide, mean_of_numbers
from iseg_cli.types import run_starts


class ConfusionMatrix:
    """The number of pixels by true class and predicted class.

    Pixels whose ground truth is the ignore label are not counted. A counted pixel whose prediction
    is the ignore label is undecided. It is an error of its true class and of no other class, so an
    undecided pixel never raises a score.

    Attributes:
        num_classes: labels are 0 to `num_classes - 1`.
        ignore_index: the label for "not counted" in ground truth and "undecided" in a prediction.
        counts: Int64[true class, predicted class], in pixels.
        undecided: Int64[true class], the pixels without a predicted class.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.counts: Int64[np.ndarray, "classes classes"]
        self.counts = np.zeros((num_classes, num_classes), dtype=np.int64)
        self.undecided: Int64[np.ndarray, " classes"] = np.zeros(num_classes, dtype=np.int64)

    @classmethod
    def of_pairs(
        cls, pairs: Int64[np.ndarray, "classes classes+1"], ignore_index: int = 255
    ) -> "ConfusionMatrix":
        """Return the matrix of `pairs`, whose last column holds the undecided pixels."""
        matrix = cls(len(pairs), ignore_index)
        matrix.counts, matrix.undecided = pairs[:, :-1].copy(), pairs[:, -1].copy()
        return matrix

    @property
    def pairs(self) -> Int64[np.ndarray, "classes classes+1"]:
        """The counts with the undecided pixels as their last column."""
        return np.column_stack((self.counts, self.undecided))

    def update(
        self, prediction: Integer[np.ndarray, "*shape"], ground_truth: Integer[np.ndarray, "*shape"]
    ) -> None:
        """Add the pixels of one image or of several.

        DataError where the shapes differ or a label is neither a class nor the ignore label.
        """
        pairs = count_pairs(
            ground_truth,
            prediction,
            rows=self.num_classes,
            columns=self.num_classes,
            ignore_index=self.ignore_index,
        )
        self.counts += pairs[:, :-1]
        self.undecided += pairs[:, -1]

    def iou(self) -> Float64[np.ndarray, " classes"]:
        """Return TP / (TP + FP + FN) by class; nan for a class that has no pixels in either."""
        correct = np.diagonal(self.counts)
        union = self._true_pixels() + self.counts.sum(axis=0) - correct
        return divide(correct, union)

    def accuracy(self) -> Float64[np.ndarray, " classes"]:
        """Return the recall of each class's pixels; nan if the ground truth lacks the class."""
        return divide(np.diagonal(self.counts), self._true_pixels())

    def miou(self) -> float:
        """Return the mean IoU over the classes that have one; nan if none has."""
        return mean_of_numbers(self.iou())

    def mean_accuracy(self) -> float:
        """Return the mean accuracy over the classes that have one; nan if none has."""
        return mean_of_numbers(self.accuracy())

    def pixel_accuracy(self) -> float:
        """Return the share of counted pixels that are right; nan if none was counted."""
        return float(divide(np.trace(self.counts), self._true_pixels().sum()))

    def __add__(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        if (self.num_classes, self.ignore_index) != (other.num_classes, other.ignore_index):
            raise ValueError("the confusion matrices are of different classes")
        total = ConfusionMatrix(self.num_classes, self.ignore_index)
        total.counts = self.counts + other.counts
        total.undecided = self.undecided + other.undecided
        return total

    def _true_pixels(self) -> Int64[np.ndarray, " classes"]:
        pixels: Int64[np.ndarray, " classes"] = self.counts.sum(axis=1) + self.undecided
        return pixels


def count_pairs(
    ground_truth: Integer[np.ndarray, "*shape"],
    prediction: Integer[np.ndarray, "*shape"],
    *,
    rows: int,
    columns: int,
    ignore_index: int,
) -> Int64[np.ndarray, "rows columns+1"]:
    """Return the number of pixels by true label and predicted label.

    The last column holds the undecided pixels. DataError if the shapes differ, a true label is
    outside 0 to `rows - 1` or a predicted one outside 0 to `columns - 1`; both may be the ignore
    label.

    Example:
        >>> truth, prediction = np.array([0, 1, 1, 255]), np.array([0, 1, 255, 1])
        >>> count_pairs(truth, prediction, rows=2, columns=2, ignore_index=255).tolist()
        [[1, 0, 0], [0, 1, 1]]
    """
    ground_truth, prediction = np.asarray(ground_truth), np.asarray(prediction)
    if ground_truth.shape != prediction.shape:
        raise DataError(
            f"the prediction's size {prediction.shape} is not the ground truth's "
            f"{ground_truth.shape}"
        )
    # Masks consist of areas: each run of equal pixels is counted once, by its length.
    ground_truth, prediction = ground_truth.ravel(), prediction.ravel()
    starts = run_starts(ground_truth, prediction)
    lengths = np.diff(starts, append=ground_truth.size)
    row, column = ground_truth[starts], prediction[starts]
    counted = row != ignore_index
    row, column, lengths = row[counted], column[counted], lengths[counted]
    undecided = column == ignore_index
    _require_labels("ground truth", row, rows)
    _require_labels("prediction", column[~undecided], columns)
    column = np.where(undecided, columns, column.astype(np.int64))
    flat = row.astype(np.int64) * (columns + 1) + column
    # The sums are exact floats: integers below 2^53.
    pairs = np.bincount(flat, weights=lengths, minlength=rows * (columns + 1))
    return pairs.astype(np.int64).reshape(rows, columns + 1)


def _require_labels(what: str, labels: Integer[np.ndarray, " runs"], number: int) -> None:
    if labels.dtype.kind not in "iu":
        raise DataError(f"the {what} holds {labels.dtype} values; labels are integers")
    if labels.size and (labels.min() < 0 or labels.max() >= number):
        wrong = labels[(labels < 0) | (labels >= number)][0]
        raise DataError(f"the {what} has label {wrong}, but labels are 0 to {number - 1}")
