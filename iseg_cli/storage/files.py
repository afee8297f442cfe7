"""Files that are whole or absent: written beside their place, then renamed."""

import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from iseg_cli.errors import PredictionsError

TEMPORARY_SUFFIX = ".iseg-tmp"
"""Ending of a file that is being written; what a killed run leaves, the next one removes."""


@contextmanager
def naming_faults(action: str, path: Path) -> Iterator[None]:
    """Turn the system's refusals within a block into one sentence.

    PredictionsError `cannot <action> <path>: <the system's reason>; <what to do>`.
    """
    try:
        yield
    except OSError as error:
        raise PredictionsError(
            f"cannot {action} {path}: {error.strerror or error}; put this right and run the same "
            "command again"
        ) from error


@contextmanager
def atomic_file(path: Path, *, shared_name: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of `path` when the block ends well.

    On any error `path` stays as it was and nothing is left beside it. PredictionsError, with the
    system's reason, where the folder cannot be written, the disk is full, or `path` is there and
    no file (a device, say, whose place a file must not take).

    Args:
        path: the file.
        shared_name: the file being written has a name that depends on `path` alone, so that the
            next try takes the place of what a killed one left. Only where nobody else writes
            `path` at the same time and `remove_temporaries` does not pass by.
    """
    # Short names of their own: an image id may already be as long as a file name can be.
    name = f"{zlib.crc32(os.fsencode(path.name)):08x}" if shared_name else secrets.token_hex(8)
    temporary = path.parent / f".{name}{TEMPORARY_SUFFIX}"
    with naming_faults("write", path):
        if path.exists() and not path.is_file():
            raise PredictionsError(f"cannot write {path}: it is no file; choose another name")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb" if shared_name else "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # the name must not reach the disk before the contents
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink()


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all; missing parent folders are made."""
    with atomic_file(path) as file:
        file.write(data)


def append(file: FileIO, line: bytes) -> None:
    """Append a line to a file, whole or not at all, however much of it the disk takes; OSError."""
    size = os.fstat(file.fileno()).st_size
    left = memoryview(line)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError:
        with suppress(OSError):
            file.truncate(size)  # else the next line would follow half of this one
        raise


def remove_temporaries(folder: Path) -> None:
    """Remove what killed runs were writing under `folder`."""
    with naming_faults("remove old files in", folder):
        for parent, _, names in os.walk(folder):
            for name in names:
                if name.endswith(TEMPORARY_SUFFIX):
                    Path(parent, name).unlink(missing_ok=True)
