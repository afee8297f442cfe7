"""Writes the records of images as a run delivers them."""

import threading
from typing import NoReturn

from tqdm import tqdm

from iseg_cli.storage import ImageRecord, PredictionFolder


class RecordWriter:
    """Writes records to the output folder, and shows them in the progress bar.

    Attributes:
        failed: the reason of each failure, by image id.
    """

    def __init__(self, folder: PredictionFolder, bar: "tqdm[NoReturn]") -> None:
        self.failed: dict[str, str] = {}
        self._folder, self._bar = folder, bar
        self._lock = threading.Lock()

    def write(self, record: ImageRecord) -> None:
        """Write the record of one image; any thread may call this."""
        self._folder.record(record)
        with self._lock:
            if record.error is not None:
                self.failed[record.image_id] = record.error
                self._bar.set_postfix(failed=len(self.failed), refresh=False)
            self._bar.update()
