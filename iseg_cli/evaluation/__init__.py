"""Scores of masks against ground truth: the metrics, the protocol and the report.

Nothing here imports torch, so `iseg evaluate` starts fast.
"""

# The command line imports these names; this module must not load NumPy.
FORMATS = ("table", "json", "csv", "markdown", "html")
"""The formats of a report."""

MATCHINGS = ("none", "image", "dataset")
"""Labels are classes; or segments that are matched to classes, per image or once a dataset."""

ABSENT_CLASSES = ("count", "skip")
"""A class that is predicted but absent from the ground truth counts with an IoU of 0, or not."""
