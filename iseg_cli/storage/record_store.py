"""The records of a run in memory and on disk: one journal, or one for each shard."""

from collections.abc import Collection, Sequence
from pathlib import Path

from iseg_cli.storage.files import naming_faults
from iseg_cli.storage.journal import Journal, read_journal, read_records, shard_journals
from iseg_cli.storage.records import ImageRecord
from iseg_cli.storage.shards import Shard


class RecordStore:
    """The records of the images of a run.

    Attributes:
        records: the last record of each image, by image id.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self._folder, self._shard = folder, shard
        self._journal = Journal(folder, shard)
        self.records: dict[str, ImageRecord] = read_records(folder)

    @property
    def has_new(self) -> bool:
        """Whether `add` was called since the journal was last closed."""
        return self._journal.is_open

    def add(self, record: ImageRecord) -> None:
        """Append a record to the journal; PredictionsError if it cannot be written."""
        self._journal.record(record)
        self.records[record.image_id] = record

    def close(self) -> None:
        """Close the journal; the next record opens it again."""
        self._journal.close()

    def mend(self) -> None:
        """Drop the torn last line of a killed run; outside of shards, merge the journals."""
        if self._shard is not None:
            self._journal.replace(read_journal(self._journal.path).values())
        else:
            self.merge()

    def merge(self) -> None:
        """Write all records to images.jsonl. The caller must hold the whole folder."""
        Journal(self._folder).replace(self.records.values())
        for path in shard_journals(self._folder):
            with naming_faults("remove", path):
                path.unlink(missing_ok=True)

    def merge_sorted(
        self, image_ids: Sequence[str], known: Collection[str] | None = None
    ) -> list[str]:
        """Merge the journals with the records sorted as `image_ids`; return those with a record.

        The records of other images come last. The caller must hold the whole folder.

        Args:
            image_ids: the images of the whole run.
            known: the names that the dataset has. A failed image with another name loses its
                record: the image was renamed or removed. None keeps all records.
        """
        if self._shard is not None:
            self.records = read_records(self._folder)
        recorded = [i for i in image_ids if i in self.records]
        others = self.records.keys() - set(recorded)  # of an earlier run without --limit
        if known is not None:
            others = {i for i in others if i in known or self.records[i].status != "failed"}
        self.records = {i: self.records[i] for i in [*recorded, *sorted(others)]}
        self.merge()
        return recorded

    def remove(self) -> None:
        """Remove all journals."""
        for path in (*shard_journals(self._folder), Journal(self._folder).path):
            path.unlink(missing_ok=True)
