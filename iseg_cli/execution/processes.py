"""Worker processes that end with this one, however it ends."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.connection import Connection
from types import TracebackType
from typing import ParamSpec, TypeVar

from iseg_cli.files.pillow import set_up_pillow

P = ParamSpec("P")
R = TypeVar("R")


class Processes(ProcessPoolExecutor):
    """A pool of fresh processes, for a `with` block; an error in the block ends them at once.

    They are spawned, not forked. This process may have threads (a progress bar has one), and a fork
    is not safe then; macOS allows no fork after its frameworks are loaded. A new process imports
    the modules that its first task names, and the main module of this process. So a program that
    uses these processes needs `if __name__ == "__main__":`.

    Ctrl-C reaches every process of a terminal; the workers ignore it and leave it to this process.
    They wait on a pipe that nobody writes to. The pipe closes when this process closes it or ends,
    killed or not; then the workers end.
    """

    def __init__(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._worker_end, self._pipe_end = context.Pipe(duplex=False)
        super().__init__(
            number, mp_context=context, initializer=_start_worker, initargs=(self._worker_end,)
        )

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Run a function in one of the processes, as `Executor.submit` says."""
        with _delayed_interrupts():  # a process that is started here inherits the mask
            return super().submit(fn, *args, **kwargs)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._pipe_end.close()
        super().__exit__(kind, error, trace)
        self._pipe_end.close()
        self._worker_end.close()


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _delayed_interrupts() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block; a process that is started inside never sees it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(pipe_end: "Connection[None, None]") -> None:
    """Set up a new process: it ignores Ctrl-C, and ends when its parent closes the pipe."""
    set_up_pillow()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=(pipe_end,), daemon=True).start()


def _end_after(pipe_end: "Connection[None, None]") -> None:
    with contextlib.suppress(EOFError, OSError):
        pipe_end.recv_bytes()
    os._exit(1)  # sys.exit would end this thread alone
