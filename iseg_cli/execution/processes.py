"""Processes that work for this one, and end with it however it ends."""

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

    They are spawned, not forked: this process may have threads (a progress bar has one), which a
    fork does not survive safely, and macOS allows no fork at all once its frameworks are loaded.
    A new process imports what its first task names, and the main module of this one; a program
    that uses more than one of them needs `if __name__ == "__main__":`.

    Ctrl-C reaches every process of a terminal; the workers leave it to this one. They hold a pipe
    that nobody writes to: it closes when this process lets go of it or is gone, killed or not, and
    then they are gone as well.
    """

    def __init__(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._far_end, self._leash = context.Pipe(duplex=False)
        super().__init__(
            number, mp_context=context, initializer=_hold_on_to, initargs=(self._far_end,)
        )

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Run a function in one of the processes, as `Executor.submit` says."""
        with _interrupts_held():  # a process may be started here, and keeps what is held
            return super().submit(fn, *args, **kwargs)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._leash.close()
        super().__exit__(kind, error, trace)
        self._leash.close()
        self._far_end.close()


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back, to be delivered at the end; a process started meanwhile never sees it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hold_on_to(leash: "Connection[None, None]") -> None:
    """Leave Ctrl-C to the parent, and end when it lets go; called in every new process."""
    set_up_pillow()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=(leash,), daemon=True).start()


def _end_after(leash: "Connection[None, None]") -> None:
    with contextlib.suppress(EOFError, OSError):
        leash.recv_bytes()
    os._exit(1)  # not sys.exit: that would end this thread alone
