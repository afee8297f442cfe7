"""The report of an evaluation: scores by class, their means, and the protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix
from iseg_cli.evaluation.metrics.ratios import none_for_nan


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class, in [0, 1].

    Attributes:
        iou: intersection over union; None if ground truth and prediction lack the class.
        accuracy: the recall of its pixels; None if the ground truth lacks the class.
    """

    iou: float | None
    accuracy: float | None


@dataclass(frozen=True, eq=False)
class Report:
    """The scores of one folder of masks.

    Attributes:
        names: the classes, the background among them, sorted by label.
        matrix: the pixel counts of these classes, in the same sequence.
        images: the number of images that were scored.
        protocol: what else the figures depend on: split, label source, matching ...
        absent_classes: how a class counts that is predicted but absent from the ground truth.
            `count`: with an IoU of 0. `skip`: not at all.
    """

    names: tuple[str, ...]
    matrix: ConfusionMatrix
    images: int
    protocol: Mapping[str, Any]
    absent_classes: str = "count"

    @classmethod
    def of_labels(
        cls,
        matrix: ConfusionMatrix,
        names: Mapping[int, str],
        *,
        images: int,
        protocol: Mapping[str, Any],
        absent_classes: str = "count",
    ) -> "Report":
        """Return the report of the labels that have a name.

        A label without a name has no score; pixels that were predicted as one are undecided.
        """
        labels = list(names)
        named = ConfusionMatrix(len(labels), matrix.ignore_index)
        named.counts = matrix.counts[np.ix_(labels, labels)]
        pixels = matrix.counts.sum(axis=1) + matrix.undecided
        named.undecided = pixels[labels] - named.counts.sum(axis=1)
        return cls(tuple(names.values()), named, images, protocol, absent_classes)

    @property
    def classes(self) -> dict[str, ClassScore]:
        """The scores by class name."""
        return {
            name: ClassScore(none_for_nan(iou), none_for_nan(accuracy))
            for name, iou, accuracy in zip(
                self.names, self.matrix.iou(), self.matrix.accuracy(), strict=True
            )
        }

    @property
    def predicted_only(self) -> tuple[str, ...]:
        """The classes that are predicted but absent from the ground truth; their IoU is 0."""
        return tuple(
            name
            for name, score in self.classes.items()
            if score.iou is not None and score.accuracy is None
        )

    @property
    def in_mean(self) -> tuple[str, ...]:
        """The classes that count in the mean IoU."""
        left_out = self.predicted_only if self.absent_classes == "skip" else ()
        return tuple(
            name
            for name, score in self.classes.items()
            if score.iou is not None and name not in left_out
        )

    @property
    def miou(self) -> float | None:
        """The mean IoU in [0, 1] over the classes `in_mean`; None if there are none."""
        classes = self.classes
        values = [iou for name in self.in_mean if (iou := classes[name].iou) is not None]
        return float(np.mean(values)) if values else None

    @property
    def mean_accuracy(self) -> float | None:
        """The mean accuracy in [0, 1] over the classes of the ground truth; None if it has none."""
        return none_for_nan(self.matrix.mean_accuracy())

    @property
    def pixel_accuracy(self) -> float | None:
        """The share of counted pixels that are right; None if none was counted."""
        return none_for_nan(self.matrix.pixel_accuracy())

    def to_json_dict(self) -> dict[str, Any]:
        """Return the contents of report.json: fractions in [0, 1], null for a missing figure."""
        return {
            "miou": self.miou,
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
            "images": self.images,
            "classes_in_mean": len(self.in_mean),
            "classes_total": len(self.names),
            "predicted_only": list(self.predicted_only),
            "classes": {
                name: {"iou": score.iou, "accuracy": score.accuracy}
                for name, score in self.classes.items()
            },
            "protocol": dict(self.protocol),
            "confusion": {
                "labels": list(self.names),
                "counts": self.matrix.counts.tolist(),
                "undecided": self.matrix.undecided.tolist(),
            },
        }
