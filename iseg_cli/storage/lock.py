"""Who may write in a folder: locks that the operating system drops when their process dies."""

import errno
import os
import socket
import sys
import time
from pathlib import Path

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.shards import Shard

if sys.platform != "win32":
    import fcntl

LOCK_NAME = ".iseg-lock"
"""The file that stands for a whole folder; a shard's has the shard's name behind it."""

PATIENCE = 30.0
"""Seconds that a shard waits for another one which is putting the records in order."""


class FolderLock:
    """The right to write in a folder, held from construction until `release`.

    One run holds the whole folder, or each of its shards its own part: the folder's lock is taken
    by a run for itself and by shards in common, and each shard has a lock of its own as well.

    PredictionsError, naming the process that writes there, where the folder or the shard is taken.
    A killed process holds nothing: the kernel drops its lock. Windows and file systems without
    locks go unguarded.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self._own: _FileLock | None = None
        if shard is not None:
            self._own = _FileLock(folder / f"{LOCK_NAME}.{shard.name}")
        try:
            self._whole = _FileLock(folder / LOCK_NAME, shared=shard is not None)
        except BaseException:
            if self._own is not None:
                self._own.release()
            raise

    def take_whole(self) -> bool:
        """Try to hold the whole folder alone; False while other shards are at work in it.

        A shard that fails has no part in the folder's lock any more. Of several that try at the
        same time, the last one does not fail for the others' sake.
        """
        return self._whole.take_alone()

    def release(self) -> None:
        """Give the folder free and leave no lock file; a second call does nothing."""
        self._whole.release()
        if self._own is not None:
            self._own.release()


class _FileLock:
    """A lock on one file, for one process or `shared` by several."""

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._alone = not shared
        deadline = time.monotonic() + (PATIENCE if shared else 0)
        while self._descriptor is None:
            self._descriptor = self._acquire(deadline)
        os.ftruncate(self._descriptor, 0)
        owner = f"{os.getpid()} on {socket.gethostname()}"
        os.pwrite(self._descriptor, owner.encode(), 0)

    def take_alone(self) -> bool:
        """Turn a share of the lock into the whole of it, or lose it and return False."""
        if self._alone:
            return True
        if self._descriptor is None or sys.platform == "win32":
            return False
        try:
            # Let go first: two that keep their shares while they ask would both be refused.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        self._alone = self._is_there()
        return self._alone

    def release(self) -> None:
        """Give the lock free, and remove its file if nobody else has a share in it."""
        if self._descriptor is None:
            return
        if self.take_alone():  # the file is still ours, so no one else's is removed
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def _acquire(self, deadline: float) -> int | None:
        """Return the locked file's descriptor, or None where it is worth trying again."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise PredictionsError(
                f"cannot write in {self._path.parent}: {error.strerror}"
            ) from error
        if sys.platform == "win32":
            return descriptor
        kind = fcntl.LOCK_EX if self._alone else fcntl.LOCK_SH
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return descriptor
            owner = os.read(descriptor, 256).decode(errors="replace") or "unknown"
            os.close(descriptor)
            if time.monotonic() < deadline:
                time.sleep(0.1)
                return None
            raise PredictionsError(
                f"another run (process {owner}) is writing in {self._path.parent}; "
                "wait for it or pass another --out"
            ) from None
        self._descriptor = descriptor
        if self._is_there():
            return descriptor
        self._descriptor = None
        os.close(descriptor)  # its owner removed it meanwhile
        return None

    def _is_there(self) -> bool:
        """Tell whether the locked file is still the one of that name."""
        try:
            return self._descriptor is not None and os.path.samestat(
                os.fstat(self._descriptor), os.stat(self._path)
            )
        except FileNotFoundError:
            return False
