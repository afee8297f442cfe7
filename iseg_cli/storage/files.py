"""Files that are whole or absent: a temporary file is written, then renamed."""

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
"""Ending of a file that is being written; the next run removes those of a killed run."""

_NAME_REFUSED = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)


@contextmanager
def naming_faults(action: str, path: Path) -> Iterator[None]:
    """Turn the system's errors within a block into one sentence.

    Raises:
        PredictionsError: `cannot <action> <path>: <the system's reason>; <what to do>`.
        NameRefusedError: the file system refuses the name: it is too long or has wrong characters.
    """
    try:
        yield
    except OSError as error:
        reason = f"cannot {action} {path}: {error.strerror or error}"
        if error.errno in _NAME_REFUSED and error.filename is not None:
            raise NameRefusedError(f"{reason}; rename the image") from error
        raise PredictionsError(f"{reason}; fix this and run the same command again") from error


@contextmanager
def atomic_file(
    path: Path, *, shared_name: bool = False, below: Path | None = None
) -> Iterator[BinaryIO]:
    """Open a temporary file for writing; it replaces `path` if the block ends without an error.

    After an error, `path` is unchanged and no temporary file remains.

    Args:
        path: the file.
        shared_name: the temporary file's name depends on `path` alone, so that the next try
            replaces the temporary file of a killed one. Only one process may write `path`, outside
            of the folders of `remove_temporaries`.
        below: a folder that holds `path` and must exist; None makes all missing folders.

    Raises:
        PredictionsError: the folder cannot be written, the disk is full, or `path` is a device or
            folder.
    """
    # Short names: an image id may be as long as a file name can be.
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
                os.fsync(file.fileno())  # the contents must reach the disk before the name
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink()


def write_atomically(path: Path, data: bytes, *, below: Path | None = None) -> None:
    """Write `data` to `path`, whole or not at all; `atomic_file` explains `below`."""
    with atomic_file(path, below=below) as file:
        file.write(data)


def _make_folder(folder: Path, below: Path | None) -> None:
    """Make a folder and its parents; FileNotFoundError if `below` is missing."""
    if below is None:
        folder.mkdir(parents=True, exist_ok=True)
        return
    for part in folder.relative_to(below).parts:
        below = below / part
        below.mkdir(exist_ok=True)


class LineFile:
    """A file that grows by whole lines, even if the disk is full.

    Attributes:
        path: the file; the first line makes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None

    @property
    def is_open(self) -> bool:
        """Whether a line was appended since the file was last closed."""
        return self._file is not None

    def append(self, lines: bytes) -> None:
        """Append all lines or none; PredictionsError if they cannot be written."""
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
                    self._file.truncate(size)  # the next line must not follow half a line
                raise

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()


def remove_temporaries(folder: Path) -> None:
    """Remove the temporary files of killed runs under `folder`."""
    with naming_faults("remove old files in", folder):
        for parent, _, names in os.walk(folder):
            for name in names:
                if name.endswith(TEMPORARY_SUFFIX):
                    Path(parent, name).unlink(missing_ok=True)
