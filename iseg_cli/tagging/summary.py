"""The summary of a run of `iseg tag`."""

from dataclasses import dataclass
from pathlib import Path

from iseg_cli.evaluation.metrics.tags import TagReport


@dataclass(frozen=True, eq=False)
class TaggingSummary:
    """What a run did.

    Attributes:
        out: the file of labels.
        asked: how many images the run was asked for.
        labelled: how many of these have labels in the file.
        resumed: how many of these an earlier run had finished.
        failed: the reason of each failure, by image id.
        notes: what the user should know about the dataset and its labels, a sentence each.
        report: the evaluation of the labels; None if the true labels are unknown.
    """

    out: Path
    asked: int
    labelled: int
    resumed: int
    failed: dict[str, str]
    notes: tuple[str, ...]
    report: TagReport | None
