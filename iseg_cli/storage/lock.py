"""Locks on output folders; the operating system drops them when their process dies."""

import errno
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.files import naming_faults
from iseg_cli.storage.shards import Shard

if sys.platform != "win32":
    import fcntl

LOCK_NAME = ".iseg-lock"
"""The lock file of a folder; that of a shard ends in the shard's name."""

PATIENCE = 30.0
"""Seconds that a shard waits for another one that merges the records."""

_NAMELESS_S = 1.0
"""Seconds that the owner of a lock may take to write its name."""


class FolderLock:
    """A lock on an output folder, held from construction until `release`.

    A run locks the folder alone. Shards share the folder's lock, and each shard locks a file of its
    own. The kernel drops the locks of a killed process. There is no protection on Windows and on
    file systems without locks.

    Raises:
        PredictionsError: another process has the lock; the error names it.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self._folder = folder
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
        """Try to lock the whole folder alone; False while other shards write in it.

        A shard that fails gives up its share of the lock. Of several shards that try at the same
        time, the last one succeeds.
        """
        return self._whole.take_alone()

    def require_held(self) -> None:
        """Raise PredictionsError if the folder is gone or was replaced by another one."""
        if not self._whole.is_there():
            raise PredictionsError(
                f"{self._folder}, or {LOCK_NAME} in it, was removed while masks were written into "
                "it; run the same command again to make what is missing"
            )

    def release(self) -> None:
        """Unlock the folder and remove the lock files; a second call does nothing."""
        self._whole.release()
        if self._own is not None:
            self._own.release()


class _FileLock:
    """A lock on one file, for one process or `shared` by several."""

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._alone = not shared
        started = time.monotonic()
        while self._descriptor is None:
            self._descriptor = self._acquire(started)
        owner = f"{os.getpid()} on {socket.gethostname()}"
        try:
            with naming_faults("write in", path.parent):
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, owner.encode(), 0)
        except BaseException:
            self.release()
            raise

    def take_alone(self) -> bool:
        """Turn a share of the lock into an exclusive lock, or lose it and return False."""
        if self._alone:
            return True
        if self._descriptor is None or sys.platform == "win32":
            return False
        try:
            # Unlock first: two shares that are kept during the attempt would both be refused.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        self._alone = self.is_there()
        return self._alone

    def release(self) -> None:
        """Unlock, and remove the lock file if no other process shares it."""
        if self._descriptor is None:
            return
        with suppress(OSError):  # a file that remains is no lock
            if self.take_alone() and self.is_there():  # the file of no other process is removed
                self._path.unlink()
        os.close(self._descriptor)
        self._descriptor = None

    def _acquire(self, started: float) -> int | None:
        """Return the locked file's descriptor, or None if the caller should try again."""
        with naming_faults("write in", self._path.parent):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        if sys.platform == "win32":
            return descriptor
        kind = fcntl.LOCK_EX if self._alone else fcntl.LOCK_SH
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return descriptor
            owner = os.read(descriptor, 256).decode(errors="replace")
            os.close(descriptor)
            patience = PATIENCE if not self._alone else 0 if owner else _NAMELESS_S
            if time.monotonic() < started + patience:
                time.sleep(0.01 if self._alone else 0.1)
                return None
            raise PredictionsError(
                f"another run (process {owner or 'unknown'}) is writing in {self._path.parent}; "
                "wait for it or pass another --out"
            ) from None
        self._descriptor = descriptor
        if self.is_there():
            return descriptor
        self._descriptor = None
        os.close(descriptor)  # its owner removed it in the meantime
        return None

    def is_there(self) -> bool:
        """Tell whether the locked file still has its name."""
        try:
            return self._descriptor is not None and os.path.samestat(
                os.fstat(self._descriptor), os.stat(self._path)
            )
        except FileNotFoundError:
            return False
