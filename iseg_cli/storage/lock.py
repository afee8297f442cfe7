"""One writer per folder: a lock that the operating system drops when its process dies."""

import errno
import os
import socket
import sys
from pathlib import Path

from iseg_cli.errors import PredictionsError

if sys.platform != "win32":
    import fcntl

LOCK_NAME = ".iseg-lock"


class FolderLock:
    """The right to write in a folder, held from construction until `release`.

    PredictionsError, naming the process that writes there, where the folder is taken. A killed
    process holds nothing: the kernel drops its lock. Windows and file systems without locks go
    unguarded.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_NAME
        self._descriptor: int | None = None
        while self._descriptor is None:
            self._descriptor = self._acquire()
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()} on {socket.gethostname()}".encode())

    def _acquire(self) -> int | None:
        """Return the locked file's descriptor, or None where its owner removed it meanwhile."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise PredictionsError(
                f"cannot write in {self._path.parent}: {error.strerror}"
            ) from error
        if sys.platform == "win32":
            return descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                owner = os.read(descriptor, 256).decode(errors="replace") or "unknown"
                os.close(descriptor)
                raise PredictionsError(
                    f"another run (process {owner}) is writing in {self._path.parent}; "
                    "wait for it or pass another --out"
                ) from None
            return descriptor
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)
        return None

    def release(self) -> None:
        """Give the folder free and leave no lock file; a second call does nothing."""
        if self._descriptor is None:
            return
        self._path.unlink(missing_ok=True)  # while it is still ours, so no one else's is removed
        os.close(self._descriptor)
        self._descriptor = None
