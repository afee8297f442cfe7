"""The summary of a run of `iseg generate`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class GenerationSummary:
    """What a run did.

    Attributes:
        folder: the output folder.
        asked: how many images the run was asked for.
        resumed: how many of these an earlier run had finished.
        written: how many masks this run wrote.
        failed: the reason of each failure, by image id.
        notes: what the user should know about the dataset and the labels, a sentence each.
        smaller_batches: the reduced batch size, if memory did not suffice; otherwise None.
    """

    folder: Path
    asked: int
    resumed: int
    written: int
    failed: dict[str, str]
    notes: tuple[str, ...] = ()
    smaller_batches: int | None = None
