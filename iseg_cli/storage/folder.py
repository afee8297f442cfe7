"""The output folder of a run: masks, images.jsonl, run.json. A rerun resumes the run."""

import dataclasses
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from iseg_cli.errors import PredictionsError
from iseg_cli.label_images import Legend
from iseg_cli.storage.closeable import Closeable
from iseg_cli.storage.contents import refuse_foreign
from iseg_cli.storage.files import naming_faults, remove_temporaries, write_atomically
from iseg_cli.storage.json_values import json_text
from iseg_cli.storage.lock import FolderLock
from iseg_cli.storage.masks import is_whole_png
from iseg_cli.storage.record_store import RecordStore
from iseg_cli.storage.records import ImageRecord
from iseg_cli.storage.resuming import (
    cannot_overwrite,
    is_left_empty,
    require_same_command,
    require_same_settings,
)
from iseg_cli.storage.run_info import RUN_NAME, RunInfo, read_info, written_as
from iseg_cli.storage.run_paths import RunPaths
from iseg_cli.storage.shards import Shard
from iseg_cli.storage.writers.registry import remove_outputs
from iseg_cli.types import LabelSet

TAKE_OVER_S = 5.0
"""Seconds that a shard waits for others to leave the folder of a run without masks."""

F = TypeVar("F", bound="PredictionFolder")


class PredictionFolder(RunPaths, Closeable):
    """The masks of one run, with their records and their provenance.

    `open` reads a folder. `start` makes or resumes one and locks it until `close`; use it in a
    `with` block. Several threads may call the methods that write.

    Attributes:
        path: the folder.
        info: the contents of its run.json.
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
        self._lock = lock
        self._threads = threading.Lock()
        self._store = RecordStore(path, shard)

    @property
    def records(self) -> Mapping[str, ImageRecord]:
        """The last record of each image, by image id."""
        return self._store.records

    @classmethod
    def open(cls, path: Path) -> "PredictionFolder":
        """Return a folder for reading; PredictionsError if it is no output folder."""
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
        """Return the folder of a run: a new one, or that of an earlier run with these settings.

        A run takes over a folder without masks from any run of the same command.

        Args:
            path: the folder.
            run: the run's provenance.
            overwrite: remove the earlier run's files first, whatever its settings. A shard may
                share the folder with others and cannot do this.
            shard: the part of the images that this process segments.

        Raises:
            PredictionsError: other settings made the masks in the folder, it holds files that are
                not ours, or another process writes in it.
        """
        if overwrite and shard is not None:
            raise cannot_overwrite(path)
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
                and is_left_empty(path, earlier, run)
                and time.monotonic() < waited_until
            ):
                lock = cls._take_over(path, earlier, run, lock, shard)
                earlier = read_info(path)
            if earlier is not None:
                require_same_command(path, earlier, run)
            if earlier is not None and overwrite:
                with naming_faults("remove the masks in", path):
                    cls(path, earlier)._remove_files()
            elif earlier is not None:
                require_same_settings(path, earlier, run)
                run = dataclasses.replace(run, created=earlier.created)
            folder = cls(path, dataclasses.replace(run, status="running"), lock, shard)
            folder._write_info()
            if shard is None:
                remove_temporaries(path)  # of a killed run
            folder._store.mend()
        except BaseException:
            lock.release()
            raise
        return folder

    def finished(self) -> set[str]:
        """Return the ids of images that have a whole mask; a resumed run segments the others."""
        return {
            record.image_id
            for record in self.records.values()
            if record.status != "failed"
            and record.size is not None
            and is_whole_png(self.mask_path(record.image_id), record.size)
        }

    def legend(self, label_set: LabelSet) -> Legend:
        """Return what the values and colours of the masks mean; `label_set` has their labels."""
        return Legend.of(label_set, written=written_as(self.info.settings))

    def failed(self) -> list[ImageRecord]:
        """Return the records of images that failed; a resumed run tries them again."""
        return [record for record in self.records.values() if record.status == "failed"]

    def write(self, record: ImageRecord, png: bytes | None = None) -> None:
        """Write an image's mask, then its record: a record needs its mask.

        Args:
            record: the image's record.
            png: the encoded mask; None for a failed image, whose earlier mask is removed.
        """
        if (png is None) != (record.status == "failed"):
            raise ValueError(f"{record.image_id}: a mask is written unless the image failed")
        self.require_there()
        path = self.mask_path(record.image_id)
        if png is None:
            self.remove_file(path)
        else:
            self.write_file(path, png)
        self.record(record)

    def record(self, record: ImageRecord) -> None:
        """Write the record of an image, whose mask was written here or by another process."""
        with self._threads:
            self.require_there()
            if not self._store.has_new:  # a report describes the masks of an earlier run
                with naming_faults("remove", self.report_path):
                    self.report_path.unlink(missing_ok=True)
            self._store.add(record)

    def note_batch_size(self, batch_size: int) -> None:
        """Write to run.json that the rest of the run uses a smaller batch size."""
        with self._threads:
            self.info = dataclasses.replace(self.info, batch_size=batch_size)
            self._write_info()

    def finish(self, image_ids: Sequence[str], *, known: Collection[str] | None = None) -> None:
        """Mark the run finished, and sort its records.

        Of several shards, the last one at work does this. The run stays unfinished if some shards
        have not started.

        Args:
            image_ids: the images of the whole run, in the order of the records.
            known: the names that the dataset has; records of failed images with other names are
                dropped, for such an image was renamed or removed.
        """
        with self._threads:
            self.require_there()
            self._store.close()
            if self._lock is not None and not self._lock.take_whole():
                return
            remove_temporaries(self.path)  # of workers that were killed
            recorded = self._store.merge_sorted(image_ids, known)
            if len(recorded) == len(image_ids):
                self.info = dataclasses.replace(self.info, status="finished")
            self._write_info()

    def close(self) -> None:
        """Close the records and unlock the folder."""
        with self._threads:
            try:
                self._store.close()
            finally:
                if self._lock is not None:
                    self._lock.release()

    def require_there(self) -> None:
        """Raise PredictionsError if the folder is gone or was replaced by another one."""
        if self._lock is not None:
            self._lock.require_held()
        super().require_there()

    @classmethod
    def _take_over(
        cls, path: Path, earlier: RunInfo, run: RunInfo, lock: FolderLock, shard: Shard | None
    ) -> FolderLock:
        """Turn the folder of a run without masks into that of another run; return its lock.

        Several shards of the new run may try this at the same time: one succeeds, the others wait.
        """
        if lock.take_whole():
            cls(path, earlier)._remove_files()
            cls(path, dataclasses.replace(run, status="running"))._write_info()
            if shard is None:
                return lock
        lock.release()  # a shard shares the lock
        time.sleep(0.05)
        return FolderLock(path, shard)

    def _write_info(self) -> None:
        text = json_text(self.info.to_json(), indent=2) + "\n"
        write_atomically(self.path / RUN_NAME, text.encode())

    def _remove_files(self) -> None:
        for image_id in filter(self.is_inside, self.records):
            remove_outputs(self, image_id)
        self.report_path.unlink(missing_ok=True)
        self._store.remove()  # last: a killed removal can be done again
