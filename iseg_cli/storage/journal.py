"""Journals: files of records, one line per image; a run has one, and each shard has one."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.files import LineFile, write_atomically
from iseg_cli.storage.json_values import NOT_OURS, json_text
from iseg_cli.storage.records import ImageRecord
from iseg_cli.storage.shards import Shard

RECORDS_NAME = "images.jsonl"


class Journal(LineFile):
    """The file of the records of a run or of one shard.

    Attributes:
        path: `images.jsonl`, or `images.<i>-of-<n>.jsonl` for a shard.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        super().__init__(folder / (RECORDS_NAME if shard is None else f"images.{shard.name}.jsonl"))

    def record(self, record: ImageRecord) -> None:
        """Append a record; PredictionsError if it cannot be written."""
        self.append(record_line(record).encode())

    def replace(self, records: Iterable[ImageRecord]) -> None:
        """Replace the records of the file, all or none of them."""
        self.close()
        write_atomically(self.path, "".join(record_line(r) for r in records).encode())


def record_line(record: ImageRecord) -> str:
    """Return a record's line of a journal, with its newline."""
    return json_text(record.to_json()) + "\n"


def read_journal(path: Path) -> dict[str, ImageRecord]:
    """Return the last record of each image in a journal; a torn last line is dropped.

    PredictionsError if another line is damaged.
    """
    try:
        contents = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise PredictionsError(f"cannot read {path}: {error.strerror}") from error
    lines = contents.split(b"\n")[:-1]  # the text after the last newline is torn or empty
    records: dict[str, ImageRecord] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = ImageRecord.from_json(json.loads(line))
        except NOT_OURS as error:
            raise PredictionsError(
                f"{path}, line {number} is damaged; delete the line and run iseg generate again, "
                "which writes its mask again"
            ) from error
        records[record.image_id] = record
    return records


def shard_journals(folder: Path) -> list[Path]:
    """Return the journals of shards whose records are not in images.jsonl."""
    return sorted(folder.glob("images.*-of-*.jsonl"))


def read_records(folder: Path) -> dict[str, ImageRecord]:
    """Return the last record of each image; journals of shards have precedence over images.jsonl.

    Two shards may have tried the same image, with another number of shards. The record of the one
    that wrote a mask counts.
    """
    newer: dict[str, ImageRecord] = {}
    for path in shard_journals(folder):
        for image_id, record in read_journal(path).items():
            if record.status != "failed" or not _is_made(newer, image_id):
                newer[image_id] = record
    return {**read_journal(folder / RECORDS_NAME), **newer}


def _is_made(records: Mapping[str, ImageRecord], image_id: str) -> bool:
    return image_id in records and records[image_id].status != "failed"
