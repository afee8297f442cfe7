"""Files that are whole or absent: written beside their place, then renamed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from iseg_cli.errors import PredictionsError

TEMPORARY_SUFFIX = ".iseg-tmp"
"""Ending of a file that is being written; what a killed run leaves, the next one removes."""


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of `path` when the block ends well.

    On any error `path` stays as it was and nothing is left beside it. PredictionsError, with the
    system's reason, where the folder cannot be written or the disk is full.
    """
    # A short name of its own: an image id may already be as long as a file name can be.
    temporary = path.parent / f".{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # the name must not reach the disk before the contents
        os.replace(temporary, path)
    except OSError as error:
        raise PredictionsError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all; missing parent folders are made."""
    with atomic_file(path) as file:
        file.write(data)


def remove_temporaries(folder: Path) -> None:
    """Remove what killed runs were writing under `folder`."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(TEMPORARY_SUFFIX):
                Path(parent, name).unlink(missing_ok=True)
