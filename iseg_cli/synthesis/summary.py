"""The summary of a run of `iseg synthesize`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SynthesisSummary:
    """What a run did.

    Attributes:
        folder: the folder of the dataset.
        asked: how many images the run was asked for.
        resumed: how many of these an earlier run had finished.
        written: how many images this run wrote.
        failed: the reason of each failure, by image id.
        dropped: why a mask is implausible, by image id; empty without the filter.
    """

    folder: Path
    asked: int
    resumed: int
    written: int
    failed: dict[str, str]
    dropped: dict[str, str]
