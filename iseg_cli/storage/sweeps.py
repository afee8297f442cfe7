"""The folder of a sweep: the counts of every finished image, from which a sweep resumes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.closeable import Closeable
from iseg_cli.storage.files import (
    TEMPORARY_SUFFIX,
    LineFile,
    remove_temporaries,
    write_atomically,
)
from iseg_cli.storage.lock import LOCK_NAME, FolderLock
from iseg_cli.storage.run_info import RunInfo

SWEEP_NAME, COUNTS_NAME = "sweep.json", "counts.jsonl"
RESULT_NAMES = ("sweep.csv", "sweep.md", "sweep.png")
"""Files that are written from the counts."""


@dataclass(frozen=True, eq=False)
class ImageCounts:
    """Pixel counts of one image by true and predicted label, under many settings.

    Attributes:
        image_id: the image.
        ground_truth: the true labels of the rows, without the ignore label.
        found: the predicted labels of the columns; the ignore label means undecided pixels.
        settings: the names of the settings.
        counts: numbers of pixels.
    """

    image_id: str
    ground_truth: tuple[int, ...]
    found: tuple[int, ...]
    settings: tuple[str, ...]
    counts: Int64[np.ndarray, "settings rows columns"]


class SweepFolder(Closeable):
    """The counts of a sweep, with its provenance.

    `start` makes or resumes a folder and locks it until `close`; use it in a `with` block.

    Attributes:
        path: the folder.
        info: the provenance that all its settings share.
    """

    def __init__(self, path: Path, info: RunInfo, lock: FolderLock) -> None:
        self.path = path
        self.info = info
        self._lock = lock
        self._journal = LineFile(path / COUNTS_NAME)
        self._sets: dict[tuple[str, ...], int] = {}

    @classmethod
    def start(cls, path: Path, info: RunInfo, *, overwrite: bool = False) -> "SweepFolder":
        """Return the folder of a sweep: a new one, or that of an earlier sweep of the same base.

        Args:
            path: the folder.
            info: the sweep's provenance.
            overwrite: remove the counts of a sweep of another base.

        Raises:
            PredictionsError: another model, dataset or base made the counts, the folder holds files
                that are not ours, or another process writes in it.
        """
        if path.exists() and not path.is_dir():
            raise PredictionsError(f"{path} is a file; pass a folder as --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PredictionsError(f"cannot make {path}: {error.strerror}") from error
        lock = FolderLock(path)
        try:
            earlier = _read_info(path)
            if earlier is None:
                _refuse_foreign(path)
            elif overwrite:
                (path / COUNTS_NAME).unlink(missing_ok=True)
            elif (changed := earlier.differences(info)) and _has_counts(path / COUNTS_NAME):
                raise PredictionsError(
                    f"{path} holds a sweep of another base ({', '.join(changed)}); pass "
                    "--overwrite to replace it or --out for another folder"
                )
            for name in RESULT_NAMES:  # they are written again from the counts
                (path / name).unlink(missing_ok=True)
            remove_temporaries(path)
            folder = cls(path, info, lock)
            _drop_torn_line(path / COUNTS_NAME)
            folder.write_results({})
        except BaseException:
            lock.release()
            raise
        return folder

    def read(self) -> Iterator[ImageCounts]:
        """Yield the counts of the folder, in the order in which they were written.

        PredictionsError, naming the line, for a damaged line.
        """
        path = self.path / COUNTS_NAME
        if not path.is_file():
            return
        keys: dict[int, tuple[str, ...]] = {}
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    contents = json.loads(line)
                    if "settings" in contents:
                        keys[contents["set"]] = tuple(contents["settings"])
                        continue
                    counts = _from_json(contents, keys[contents["set"]])
                except (ValueError, TypeError, KeyError) as error:
                    raise PredictionsError(
                        f"{path}, line {number} is damaged; delete the file, or this line if it "
                        "names an image, and run the command again"
                    ) from error
                yield counts
        self._sets = {settings: number for number, settings in keys.items()}

    def add(self, counts: ImageCounts) -> None:
        """Append an image's counts; a reader finds all of them or none."""
        number = self._sets.get(counts.settings)
        lines = []
        if number is None:
            number = max(self._sets.values(), default=-1) + 1
            lines.append({"set": number, "settings": list(counts.settings)})
        lines.append(
            {
                "image": counts.image_id,
                "set": number,
                "truth": list(counts.ground_truth),
                "found": list(counts.found),
                "counts": counts.counts.tolist(),
            }
        )
        text = "".join(
            json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines
        )
        self._journal.append(text.encode())
        self._sets[counts.settings] = number

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write sweep.json: the provenance and the results."""
        contents = {**results, "run": self.info.to_json()}
        text = json.dumps(contents, indent=2, ensure_ascii=False)
        write_atomically(self.path / SWEEP_NAME, (text + "\n").encode())

    def write(self, name: str, data: bytes) -> None:
        """Write one of `RESULT_NAMES`."""
        write_atomically(self.path / name, data)

    def close(self) -> None:
        """Close the counts and unlock the folder."""
        try:
            self._journal.close()
        finally:
            self._lock.release()


def earlier_batch_size(path: Path) -> int | None:
    """Return the batch size of an earlier sweep in a folder; None if there is none."""
    info = _read_info(path)
    return info.batch_size if info is not None and isinstance(info.batch_size, int) else None


def _read_info(path: Path) -> RunInfo | None:
    try:
        return RunInfo.from_json(json.loads((path / SWEEP_NAME).read_bytes())["run"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PredictionsError(f"cannot read {path / SWEEP_NAME}: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise PredictionsError(
            f"{path / SWEEP_NAME} was not written by iseg sweep; pass another folder"
        ) from error


def _refuse_foreign(path: Path) -> None:
    names = sorted(entry.name for entry in path.iterdir())
    foreign = (n for n in names if n != LOCK_NAME and not n.endswith(TEMPORARY_SUFFIX))
    if (name := next(foreign, None)) is not None:
        raise PredictionsError(
            f"{path} holds {name} but no {SWEEP_NAME}; nothing was written: pass an empty folder "
            "as --out"
        )


def _has_counts(path: Path) -> bool:
    """Tell whether an earlier sweep has finished an image."""
    return path.is_file() and b"\n" in path.read_bytes()


def _drop_torn_line(path: Path) -> None:
    """Cut off the text after the last newline: a killed process was writing it."""
    if not path.is_file():
        return
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                file.truncate(start + newline + 1)
                return
            end = start
        file.truncate(0)


def _from_json(line: Mapping[str, Any], settings: tuple[str, ...]) -> ImageCounts:
    """Return the counts of a line; KeyError, TypeError or ValueError if it holds none."""
    ground_truth, found = tuple(line["truth"]), tuple(line["found"])
    counts = np.array(line["counts"], dtype=np.int64)
    shape = (len(settings), len(ground_truth), len(found))
    return ImageCounts(str(line["image"]), ground_truth, found, settings, counts.reshape(shape))
