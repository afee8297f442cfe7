"""A folder of predictions: masks, images.jsonl, run.json. Rerunning a run resumes it."""

import dataclasses
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from iseg_cli.errors import PredictionsError
from iseg_cli.label_images import Legend
from iseg_cli.storage.contents import holds_masks, refuse_foreign
from iseg_cli.storage.files import naming_faults, remove_temporaries, write_atomically
from iseg_cli.storage.journal import Journal, read_journal, read_records, shard_journals
from iseg_cli.storage.layout import Layout
from iseg_cli.storage.lock import FolderLock
from iseg_cli.storage.masks import is_whole_png
from iseg_cli.storage.records import (
    RUN_NAME,
    SYNTHESIS,
    ImageRecord,
    RunInfo,
    json_text,
    read_info,
    written_as,
)
from iseg_cli.storage.shards import Shard
from iseg_cli.types import LabelSet

TAKE_OVER_S = 5.0
"""Seconds that a shard waits for others to leave the folder of a run without masks."""

F = TypeVar("F", bound="PredictionFolder")


class PredictionFolder(Layout):
    """The masks of one run with what is known about them.

    `open` reads a folder; `start` makes or resumes one and holds it until `close`, best in a
    `with` block. Methods that write may be called from several threads.

    Attributes:
        path: the folder.
        info: the contents of its run.json.
        records: what became of each image, by image id; the last word on an image counts.
    """

    def __init__(
        self,
        path: Path,
        info: RunInfo,
        lock: FolderLock | None = None,
        shard: Shard | None = None,
    ) -> None:
        super().__init__(path)
        self.info = info
        self.records = read_records(path)
        self._lock, self._shard = lock, shard
        self._threads = threading.Lock()
        self._journal = Journal(path, shard)

    @classmethod
    def open(cls, path: Path) -> "PredictionFolder":
        """Open a folder for reading; PredictionsError where it is no folder of predictions."""
        info = read_info(path)
        if info is None:
            raise PredictionsError(
                f"{path} has no {RUN_NAME}; pass a folder that iseg generate wrote, or --dataset "
                "for a folder of masks from elsewhere"
            )
        return cls(path, info)

    @classmethod
    def start(
        cls: type[F],
        path: Path,
        run: RunInfo,
        *,
        overwrite: bool = False,
        shard: Shard | None = None,
    ) -> F:
        """Make a folder for a run, or take up where an earlier run with these settings stopped.

        With `overwrite` the earlier run's files are removed first, whatever its settings; shards,
        which may not be alone, cannot do that. A folder without a mask is taken over from any run
        of the same command. PredictionsError where other settings made the masks in the folder,
        where it holds something that is not ours, or while another process writes in it.
        """
        if overwrite and shard is not None:
            raise PredictionsError(
                f"a shard cannot overwrite {path}, where others may be at work; remove the folder "
                "first, or pass another --out"
            )
        refuse_foreign(path)
        with naming_faults("make", path):
            path.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(path, shard)
        try:
            earlier = read_info(path)
            waited_until = time.monotonic() + TAKE_OVER_S
            while (
                earlier is not None
                and not overwrite
                and _is_left_empty(path, earlier, run)
                and time.monotonic() < waited_until
            ):
                lock = cls._take_over(path, earlier, run, lock, shard)
                earlier = read_info(path)
            if earlier is not None and (earlier.task == SYNTHESIS) != (run.task == SYNTHESIS):
                raise PredictionsError(
                    f"{path} holds the results of another command (its task is {earlier.task}); "
                    "pass another folder as --out"
                )
            if earlier is not None and overwrite:
                with naming_faults("remove the masks in", path):
                    cls(path, earlier)._remove_files()
            elif earlier is not None:
                if changed := earlier.differences(run):
                    raise PredictionsError(
                        f"{path} was made with other settings ({', '.join(changed)}); pass "
                        "--overwrite to replace its masks or --out for another folder"
                    )
                run = dataclasses.replace(run, created=earlier.created)
            folder = cls(path, dataclasses.replace(run, status="running"), lock, shard)
            folder._write_info()
            folder._mend()
        except BaseException:
            lock.release()
            raise
        return folder

    def finished(self) -> set[str]:
        """Return the ids of images whose mask is there and whole; the others are to be made."""
        return {
            record.image_id
            for record in self.records.values()
            if record.status != "failed"
            and record.size is not None
            and is_whole_png(self.mask_path(record.image_id), record.size)
        }

    def legend(self, label_set: LabelSet) -> Legend:
        """Return the key to the masks, whose labels are those of `label_set`."""
        return Legend.of(label_set, written=written_as(self.info.settings))

    def failed(self) -> list[ImageRecord]:
        """Return the records of images that failed; a resumed run tries them again."""
        return [record for record in self.records.values() if record.status == "failed"]

    def write(self, record: ImageRecord, png: bytes | None = None) -> None:
        """Write an image's mask, then its record: a record never stands without its mask.

        `png` is the encoded mask, None for a failed image, whose earlier mask is removed.
        """
        if (png is None) != (record.status == "failed"):
            raise ValueError(f"{record.image_id}: a mask is written unless the image failed")
        self.require_there()
        self.write_mask(record.image_id, png)
        self.record(record)

    def record(self, record: ImageRecord) -> None:
        """Record what became of an image, after its mask was written here or by another process."""
        with self._threads:
            self.require_there()
            if not self._journal.is_open:  # a report describes other masks from here on
                with naming_faults("remove", self.report_path):
                    self.report_path.unlink(missing_ok=True)
            self._journal.record(record)
            self.records[record.image_id] = record

    def note_batch_size(self, batch_size: int) -> None:
        """Note that images go through the model fewer at a time from here on."""
        with self._threads:
            self.info = dataclasses.replace(self.info, batch_size=batch_size)
            self._write_info()

    def finish(self, image_ids: Sequence[str], *, known: Collection[str] | None = None) -> None:
        """Mark the run finished, its records in the order of `image_ids`, those of the whole run.

        With `known`, the names that the dataset has, failures of other names are forgotten: such an
        image was renamed or removed.

        A shard leaves that to the last one at work; where some have not been at work yet, the run
        is not finished.
        """
        with self._threads:
            self.require_there()
            self._journal.close()
            if self._lock is not None and not self._lock.take_whole():
                return
            if self._shard is not None:
                self.records = read_records(self.path)
            remove_temporaries(self.path)  # of workers that were killed
            order = [i for i in image_ids if i in self.records]
            wider = self.records.keys() - set(order)  # an earlier run without --limit
            if known is not None:
                wider = {i for i in wider if i in known or self.records[i].status != "failed"}
            self.records = {i: self.records[i] for i in [*order, *sorted(wider)]}
            self._merge_journals()
            if len(order) == len(image_ids):
                self.info = dataclasses.replace(self.info, status="finished")
            self._write_info()

    def close(self) -> None:
        """Close the records and let other processes write in the folder."""
        with self._threads:
            try:
                self._journal.close()
            finally:
                if self._lock is not None:
                    self._lock.release()

    def __enter__(self: F) -> F:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def require_there(self) -> None:
        """Raise PredictionsError where the folder is gone, or another one stands in its place."""
        if self._lock is not None:
            self._lock.require_held()
        super().require_there()

    @classmethod
    def _take_over(
        cls, path: Path, earlier: RunInfo, run: RunInfo, lock: FolderLock, shard: Shard | None
    ) -> FolderLock:
        """Make the folder of a run without masks that of another run; return the lock on it.

        Shards of the new run may try it at the same time: one of them does it, the others wait.
        """
        if lock.take_whole():
            cls(path, earlier)._remove_files()
            cls(path, dataclasses.replace(run, status="running"))._write_info()
            if shard is None:
                return lock
        lock.release()  # a shard has a share of the lock alone
        time.sleep(0.05)
        return FolderLock(path, shard)

    def _write_info(self) -> None:
        text = json_text(self.info.to_json(), indent=2) + "\n"
        write_atomically(self.path / RUN_NAME, text.encode())

    def _mend(self) -> None:
        """Put away what killed runs left half done: what they were writing, and torn last lines."""
        if self._shard is not None:
            self._journal.replace(read_journal(self._journal.path).values())
            return
        remove_temporaries(self.path)
        self._merge_journals()

    def _merge_journals(self) -> None:
        """Put all records into images.jsonl; whoever calls this is alone in the folder."""
        Journal(self.path).replace(self.records.values())
        for path in shard_journals(self.path):
            with naming_faults("remove", path):
                path.unlink(missing_ok=True)

    def _remove_files(self) -> None:
        for image_id in filter(self.is_inside, self.records):
            for place in (self.mask_path, self.overlay_path, self.scores_path):
                place(image_id).unlink(missing_ok=True)
        # The records go last: a killed removal can be done again.
        for path in (self.report_path, *shard_journals(self.path), Journal(self.path).path):
            path.unlink(missing_ok=True)


def _is_left_empty(path: Path, earlier: RunInfo, run: RunInfo) -> bool:
    """Tell whether a run of other settings, by the same command, left no mask in its folder."""
    is_other_command = (earlier.task == SYNTHESIS) != (run.task == SYNTHESIS)
    return not is_other_command and bool(earlier.differences(run)) and not holds_masks(path)
