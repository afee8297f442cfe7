"""Scores of image-level labels: precision, recall, F1 and average precision."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from iseg_cli.evaluation.metrics.ratios import divide, mean_of_numbers, none_for_nan


@dataclass(frozen=True, eq=False)
class TagReport:
    """The image-level labels and scores of some images, and their ground truth.

    Attributes:
        names: the classes.
        ground_truth: whether each image has each class.
        labels: whether each class was found in each image.
        scores: the score of each class in each image; a greater score is surer.
        protocol: what else the figures depend on: split, source of the ground truth, model ...
    """

    names: tuple[str, ...]
    ground_truth: Bool[np.ndarray, "images classes"]
    labels: Bool[np.ndarray, "images classes"]
    scores: Float[np.ndarray, "images classes"]
    protocol: Mapping[str, Any]

    @property
    def precision(self) -> Float64[np.ndarray, " classes"]:
        """The share of true labels among each class's labels; nan for a class without labels."""
        return divide(self._right(), self.labels.sum(axis=0))

    @property
    def recall(self) -> Float64[np.ndarray, " classes"]:
        """The share of each class's images where it was found; nan for a class without images."""
        return divide(self._right(), self.ground_truth.sum(axis=0))

    @property
    def average_precision(self) -> Float64[np.ndarray, " classes"]:
        """The average precision of each class; nan for a class without images."""
        columns = zip(self.ground_truth.T, self.scores.T, strict=True)
        return np.array(
            [average_precision(ground_truth, scores) for ground_truth, scores in columns]
        )

    def to_json_dict(self) -> dict[str, Any]:
        """Return all figures as fractions in [0, 1], null where there is none.

        `micro` counts the labels of all classes together. `macro` is the mean over the classes of
        the ground truth: a class without labels has a precision of 0, and F1 is that of the means.
        """
        precision, recall, average = self.precision, self.recall, self.average_precision
        there = self.ground_truth.any(axis=0)
        counts = np.stack([self._right(), self.labels.sum(axis=0), self.ground_truth.sum(axis=0)])
        right, found, true = counts.sum(axis=1)
        return {
            "map": none_for_nan(mean_of_numbers(average[there])),
            "micro": _figures(*divide(np.array([right, right]), np.array([found, true]))),
            "macro": _figures(
                mean_of_numbers(np.nan_to_num(precision)[there]), mean_of_numbers(recall[there])
            ),
            "images": len(self.ground_truth),
            "classes": {
                name: {
                    "images": int(self.ground_truth[:, c].sum()),
                    **_figures(precision[c], recall[c]),
                    "average_precision": none_for_nan(average[c]),
                }
                for c, name in enumerate(self.names)
            },
            "protocol": dict(self.protocol),
        }

    def _right(self) -> Int64[np.ndarray, " classes"]:
        right: Int64[np.ndarray, " classes"] = (self.labels & self.ground_truth).sum(axis=0)
        return right


def average_precision(
    ground_truth: Bool[np.ndarray, " images"], scores: Float[np.ndarray, " images"]
) -> float:
    """Return the area under the precision-recall curve, without interpolation.

    Images are ranked by score; equal scores form one step. Each step adds its precision times the
    recall that it gains. nan if no image has the class.

    Example:
        >>> average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]))
        0.8333333333333333
    """
    if not ground_truth.any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    right = np.cumsum(ground_truth[order])
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # the last of each step
    gained = np.diff(right[ends], prepend=0) / right[-1]
    return float(np.sum(gained * right[ends] / (ends + 1)))


def _figures(precision: float, recall: float) -> dict[str, float | None]:
    """Return precision, recall and F1; F1 is 0 if one of them is 0 or nan, None if both are nan."""
    if precision + recall > 0:
        f1 = 2 * precision * recall / (precision + recall)
    else:
        f1 = math.nan if math.isnan(precision) and math.isnan(recall) else 0.0
    return {
        "precision": none_for_nan(precision),
        "recall": none_for_nan(recall),
        "f1": none_for_nan(f1),
    }
