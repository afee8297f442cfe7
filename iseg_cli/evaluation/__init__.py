"""Metrics and reports: NumPy and SciPy only, so that `iseg evaluate` starts fast."""

# Here, not beside their code, so that the command line can name them without loading NumPy.
FORMATS = ("table", "json", "csv", "markdown", "html")
"""How a report can be written."""

MATCHINGS = ("none", "image", "dataset")
"""Labels are classes; or segments, matched to classes per image or once over the dataset."""

ABSENT_CLASSES = ("count", "skip")
"""Whether a class that is predicted but in no truth counts in the mean IoU, with an IoU of 0."""
