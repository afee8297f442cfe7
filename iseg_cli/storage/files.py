"""Files that are whole or absent: written beside their place, then renamed."""

import errno
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from iseg_cli.errors import NameRefusedError, PredictionsError

TEMPORARY_SUFFIX = ".iseg-tmp"
"""Ending of a file that is being written; what a killed run leaves, the next one removes."""

_NAME_REFUSED = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)


@contextmanager
def naming_faults(action: str, path: Path) -> Iterator[None]:
    """Turn the system's refusals within a block into one sentence.

    PredictionsError `cannot <action> <path>: <the system's reason>; <what to do>`; NameRefusedError
    where the name alone is at fault: it is too long, or has characters that the disk does not take.
    """
    try:
        yield
    except OSError as error:
        reason = f"cannot {action} {path}: {error.strerror or error}"
        if error.errno in _NAME_REFUSED and error.filename is not None:
            raise NameRefusedError(f"{reason}; rename the image") from error
        raise PredictionsError(
            f"{reason}; put this right and run the same command again"
        ) from error


@contextmanager
def atomic_file(
    path: Path, *, shared_name: bool = False, below: Path | None = None
) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of `path` when the block ends well.

    On any error `path` stays as it was and nothing is left beside it. PredictionsError, with the
    system's reason, where the folder cannot be written, the disk is full, or `path` is there and
    no file (a device, say, whose place a file must not take).

    Args:
        path: the file.
        shared_name: the file being written has a name that depends on `path` alone, so that the
            next try takes the place of what a killed one left. Only where nobody else writes
            `path` at the same time and `remove_temporaries` does not pass by.
        below: a folder that holds `path` and must be there; None makes all missing folders.
    """
    # Short names of their own: an image id may already be as long as a file name can be.
    name = f"{zlib.crc32(os.fsencode(path.name)):08x}" if shared_name else secrets.token_hex(8)
    temporary = path.parent / f".{name}{TEMPORARY_SUFFIX}"
    with naming_faults("write", path):
        if path.exists() and not path.is_file():
            raise PredictionsError(f"cannot write {path}: it is no file; choose another name")
        try:
            _make_folder(path.parent, below)
            with temporary.open("wb" if shared_name else "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # the name must not reach the disk before the contents
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink()


def write_atomically(path: Path, data: bytes, *, below: Path | None = None) -> None:
    """Write `data` to `path`, whole or not at all; `below` is explained at `atomic_file`."""
    with atomic_file(path, below=below) as file:
        file.write(data)


def _make_folder(folder: Path, below: Path | None) -> None:
    """Make a folder and what it lies in; FileNotFoundError where `below` would have to be made."""
    if below is None:
        folder.mkdir(parents=True, exist_ok=True)
        return
    for part in folder.relative_to(below).parts:
        below = below / part
        below.mkdir(exist_ok=True)


class LineFile:
    """A file that grows by whole lines, however much of one the disk takes.

    Attributes:
        path: the file; it is made with its first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None

    @property
    def is_open(self) -> bool:
        """Whether something was appended since the file was last closed."""
        return self._file is not None

    def append(self, lines: bytes) -> None:
        """Add lines, all of them or nothing; PredictionsError where they cannot be written."""
        with naming_faults("write", self.path):
            if self._file is None:
                self._file = FileIO(self.path, "a")
            size = os.fstat(self._file.fileno()).st_size
            left = memoryview(lines)
            try:
                while left:
                    left = left[self._file.write(left) :]
            except OSError:
                with suppress(OSError):
                    self._file.truncate(size)  # else the next line would follow half of this one
                raise

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()


def remove_temporaries(folder: Path) -> None:
    """Remove what killed runs were writing under `folder`."""
    with naming_faults("remove old files in", folder):
        for parent, _, names in os.walk(folder):
            for name in names:
                if name.endswith(TEMPORARY_SUFFIX):
                    Path(parent, name).unlink(missing_ok=True)
