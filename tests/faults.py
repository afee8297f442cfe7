"""Faults on demand: `iseg` runs in a process of its own, and a fault meets it at a chosen event.

Each run is a fork of a server that has imported torch once, so it starts in a fraction of a second.
Python's audit events (a file is opened, renamed, removed) say when a fault happens. Names of the
product's functions play no part, so these tests hold when the product's modules change.
"""

import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["iseg_cli.generation.generate", "iseg_cli.cli.generate", "iseg_cli.sweep"]
)

LIMIT_S = 600
"""Seconds that a test waits for an event before it fails. No test waits for fewer."""


@dataclass(frozen=True)
class Fault:
    """What happens, and when.

    Attributes:
        event: `read`, `write` or `append` (a file is opened), `rename` (to), `remove`, `mkdir`,
            `list`, `unet` (a forward pass), or `any`.
        path: a regular expression that is searched for in the path; any by default.
        first: the number of the first event that the fault meets, from 1 on.
        when: events count only while this returns True; they always do by default.
        then: `kill` (as kill -9 does); the number of the system's error that this event and all
            later ones like it meet; or something to do before the event, once, while all others
            wait.
    """

    event: str
    path: str = ""
    first: int = 1
    when: Callable[[], bool] | None = None
    then: str | int | Callable[[], object] = "kill"


@dataclass(frozen=True)
class Run:
    """How a run ended: exit code (a killed run has minus the signal's number) and its output."""

    code: int
    said: str


@dataclass
class Running:
    """A run that has started."""

    process: multiprocessing.process.BaseProcess
    log: Path

    def wait(self) -> Run:
        self.process.join(LIMIT_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise AssertionError(f"the run hangs: {self.log.read_text()}")
        code = self.process.exitcode
        assert code is not None
        return Run(code, self.log.read_text(errors="replace"))

    def kill(self) -> Run:
        self.process.kill()
        return self.wait()


def start(
    *arguments: object,
    log: Path,
    faults: Sequence[Fault] = (),
    largest_file: int | None = None,
    journal: Path | None = None,
    gate: Path | None = None,
    peak: Path | None = None,
) -> Running:
    """Start `iseg` with these arguments.

    Args:
        arguments: of the command line.
        log: a file for what it says, standard output and errors together.
        faults: the faults that meet it.
        largest_file: no file may grow over so many bytes, as on a full disk.
        journal: a file that gets a line for each event.
        gate: the run begins its work when this file appears.
        peak: a file that gets the greatest memory of the run, in KiB.
    """
    process = _SERVER.Process(
        target=_child,
        args=([str(a) for a in arguments], log, faults, largest_file, journal, gate, peak),
    )
    process.start()
    return Running(process, log)


def run(*arguments: object, log: Path, **options: object) -> Run:
    """Run `iseg` to its end; see `start`."""
    return start(*arguments, log=log, **options).wait()


def peak_memory(*arguments: object, log: Path) -> int:
    """Run `iseg` to its end and return its greatest memory, in KiB."""
    running = start(*arguments, log=log, peak=log.with_suffix(".peak"))
    ended = running.wait()
    assert ended.code == 0, ended.said
    return int(log.with_suffix(".peak").read_text())


def together(act: Callable[..., object], *arguments: object) -> list[tuple[int, object]]:
    """Call `act(*arguments, barrier)` in two processes; return each one's id and its result."""
    barrier, results = _SERVER.Barrier(2, timeout=LIMIT_S), _SERVER.SimpleQueue()
    processes = [
        _SERVER.Process(target=_report, args=(act, arguments, barrier, results)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    reported = [results.get() for _ in processes]
    for process in processes:
        process.join()
    for _, result in reported:
        if isinstance(result, BaseException):
            raise result
    return reported


def _report(act, arguments, barrier, results) -> None:
    _await_names()
    try:
        result = act(*arguments, barrier)
    except Exception as error:
        barrier.abort()
        result = error
    results.put((os.getpid(), result))


def _child(
    arguments: list[str],
    log: Path,
    faults: Sequence[Fault],
    largest_file: int | None,
    journal: Path | None,
    gate: Path | None,
    peak: Path | None,
) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal
    from iseg_cli.cli import main

    _await_names()
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    if gate is not None:
        wait_until(gate.exists)
    if faults or journal:
        _arm(faults, journal)
    try:
        main(arguments, prog_name="iseg")
    finally:
        if peak is not None:
            peak.write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def _await_names() -> None:
    """Let a run that finds a lock taken wait for the owner's name, also on a busy machine."""
    from iseg_cli.storage import lock

    lock._NAMELESS_S = LIMIT_S


def _arm(faults: Sequence[Fault], journal: Path | None) -> None:
    """Listen to this process's audit events from now on. Python cannot remove the hook."""
    counts = [0] * len(faults)
    one_at_a_time, own = threading.Lock(), threading.local()
    told = None if journal is None else os.open(journal, os.O_WRONLY | os.O_CREAT)

    def strike(fault: Fault, count: int, path: str) -> None:
        if callable(fault.then):
            if count == fault.first:
                fault.then()
        elif count >= fault.first and fault.then == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif count >= fault.first:
            raise OSError(fault.then, os.strerror(int(fault.then)), path)

    def happens(event: str, path: str) -> None:
        if getattr(own, "busy", False):  # the acts of a fault are no events
            return
        with one_at_a_time:
            own.busy = True
            try:
                if told is not None:
                    os.write(told, f"{event} {path!r}\n".encode())
                for i, fault in enumerate(faults):
                    if (
                        fault.event in (event, "any")
                        and re.search(fault.path, path)
                        and (fault.when is None or fault.when())
                    ):
                        counts[i] += 1
                        strike(fault, counts[i], path)
            finally:
                own.busy = False

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if (known := _in_our_words(event, arguments)) is not None:
            happens(*known)

    sys.addaudithook(watch)
    on_unet(lambda rows: happens("unet", ""))


def _in_our_words(event: str, arguments: tuple[object, ...]) -> tuple[str, str] | None:
    """Return an audit event in the words of `Fault.event`, and its path."""
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        flags = int(arguments[2])
        writes = flags & (os.O_WRONLY | os.O_RDWR)
        word = ("append" if flags & os.O_APPEND else "write") if writes else "read"
        return word, os.fsdecode(arguments[0])
    if event == "os.rename":
        return "rename", os.fsdecode(arguments[1])
    words = {"os.remove": "remove", "os.mkdir": "mkdir", "os.listdir": "list", "os.scandir": "list"}
    if event in words and isinstance(arguments[0], str | bytes | os.PathLike):
        return words[event], os.fsdecode(arguments[0])
    return None


# --- conditions, and acts of faults ---------------------------------------------------------------


def wait_until(holds: Callable[[], bool]) -> None:
    """Return as soon as `holds()` does; AssertionError where it never does."""
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline, f"waited {LIMIT_S} s for {holds}"
        time.sleep(0.005)


def has_lines(path: Path, count: int, word: str = "") -> bool:
    """Tell whether a file has so many whole lines with a word in them."""
    try:
        lines = path.read_text(errors="replace").split("\n")[:-1]
    except FileNotFoundError:
        return False
    return sum(word in line for line in lines) >= count


def interrupted() -> None:
    """Send this process a Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


def stopped(mark: Path) -> None:
    """Stop this process without ending it; `mark` is a file that appears before."""
    mark.touch()
    os.kill(os.getpid(), signal.SIGSTOP)


def removed(folder: Path) -> None:
    """Remove a folder into which other threads may be writing this moment."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def out_of_memory(over: int):
    """While the block lasts, a UNet's forward pass of more than `over` rows finds no memory.

    Works on every model of this process, whoever loads it. Yields the list of the rows that passes
    were asked for, in order, those that failed included.
    """
    import torch

    asked: list[int] = []

    def refuse(rows: int) -> None:
        asked.append(rows)
        if rows > over:
            raise torch.OutOfMemoryError(f"{rows} rows, {over} fit")

    handle = on_unet(refuse)
    try:
        yield asked
    finally:
        handle.remove()


def on_unet(act: Callable[[int], None]):
    """Call `act` with the number of rows before every forward pass of a UNet of this process.

    The hook is on the timestep embedding. Only UNets have one, and each pass runs it once, first.
    """
    from diffusers.models.embeddings import TimestepEmbedding
    from torch.nn.modules.module import register_module_forward_pre_hook

    def hook(module, arguments):
        if isinstance(module, TimestepEmbedding):
            act(len(arguments[0]))

    return register_module_forward_pre_hook(hook)
