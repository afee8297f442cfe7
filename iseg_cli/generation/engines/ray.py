"""The work of a run in Ray's processes: a pool of actors, each with a model of its own.

Ray does a task again whose process or node was lost; files are written whole and are the same each
time, so that nothing comes of it. What kills its worker each time is given up in the end.
"""

import dataclasses
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.exceptions import RayError, RayTaskError

from iseg_cli.errors import IsegError, SettingsError
from iseg_cli.execution.iteration import batches
from iseg_cli.generation.engines.base import WorkerPool
from iseg_cli.generation.engines.ray_worker import ERROR, LINE, TASK, Assignment, Worker, survey
from iseg_cli.generation.mask_generator import OnRecord
from iseg_cli.generation.plan import RunPlan, open_generator
from iseg_cli.readers.base import Reader
from iseg_cli.storage import ImageRecord, RunInfo

MOST_BATCHES = 8
"""Of a task: enough that decoding and writing go on beside the model, few enough to lose one."""

KNOCKING = 10.0
"""Seconds in which a cluster must answer that is named by host and port."""

TASKS_A_WORKER = 8
"""A short run is cut into at least so many tasks for each worker, so that they end together."""


class RayEngine:
    """Works in Ray's processes: `--engine ray`."""

    def __init__(self, *, workers: int | None = None, address: str | None = None) -> None:
        self._workers, self._address = workers, address

    @contextmanager
    def open(self, plan: RunPlan, reader: Reader) -> Iterator[WorkerPool]:
        """Join or start Ray and find out what its processes would make; see `Engine`.

        On a CPU that can be told from here; a GPU may only be where the workers are.
        """
        plan = _for_others(plan, reader)
        with _ray(self._address):
            gpu = _wants_gpu(plan.settings.runtime.device)
            if not gpu:
                plan = _with_runtime(plan, device="cpu")
            workers = self._crew_size("GPU" if gpu else "CPU")
            needs = {"num_cpus": 1, "num_gpus": int(gpu)}
            info = (
                _ask(Assignment(plan, Path.cwd()), needs)
                if gpu
                else open_generator(plan, reader)[1]
            )
            plan = _with_runtime(plan, batch_size=info.batch_size, dtype=info.dtype)
            yield _Pool(Assignment(plan, Path.cwd()), info, workers, needs)

    def _crew_size(self, kind: str) -> int:
        """Return how many workers to start; a cluster may grow, this machine does not."""
        there = _available(kind)
        if self._workers is not None and self._address is None and self._workers > there:
            raise SettingsError(
                f"{self._workers} workers need a {kind} each, and Ray finds {there} here; pass "
                "fewer --workers, or a cluster as --ray-address"
            )
        return self._workers or there


@dataclass(frozen=True, eq=False)
class _Pool:
    """Actors that share out the images; they are started when there is something to do."""

    assignment: Assignment
    info: RunInfo
    workers: int
    needs: dict[str, int]

    def work(self, image_ids: Sequence[str], on_record: OnRecord) -> None:
        if not image_ids:
            return
        size = _task_size(len(image_ids), int(self.info.batch_size), self.workers)
        tasks = [{TASK: json.dumps(task)} for task in batches(image_ids, size)]
        items = ray.data.from_items(tasks, override_num_blocks=len(tasks))
        rows = items.map_batches(
            Worker,
            fn_constructor_args=(self.assignment, self.info, _Begin()),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(tasks))),
            **self.needs,
        )
        with _told():
            for row in rows.iter_rows():
                if row[ERROR]:
                    raise IsegError(row[ERROR])
                on_record(ImageRecord.from_json(json.loads(row[LINE])))


class _Attempts:
    """Counts how often each task was begun, in a process of its own that outlives the workers."""

    def __init__(self) -> None:
        self._begun: dict[str, int] = {}

    def begin(self, task: str) -> int:
        """Return how often a task was begun, this time included."""
        self._begun[task] = self._begun.get(task, 0) + 1
        return self._begun[task]


class _Begin:
    """Asks the process that counts; workers get a copy."""

    def __init__(self) -> None:
        remote = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Attempts)
        self._attempts = remote.remote()

    def __call__(self, task: str) -> int:
        count: int = ray.get(self._attempts.begin.remote(task))
        return count


def _task_size(images: int, batch_size: int, workers: int) -> int:
    """Return how many images a task has: whole batches, and as many as are worth a call."""
    share = -(-images // batch_size) // (TASKS_A_WORKER * workers)
    return batch_size * min(max(share, 1), MOST_BATCHES)


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    """Join a cluster or start Ray on this machine, and leave; quiet, but for errors.

    Where Ray runs in this process already, it is used and left running.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's C++ part warns on every pool of actors that is restarted, whatever is done about it.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        _knock(address)
        with _no_stderr():  # on which Ray says that it follows the variable above
            if address is not None:
                ray.init(address=address, **quiet)
            else:
                ray.init(address="local", include_dashboard=False, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise SettingsError(
            f"Ray is not to be had at {address or 'this machine'} ({_first_line(error)}); "
            "check --ray-address"
        ) from None
    try:
        _hush()
        yield
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself would try for many minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCKING).close()


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Close this process's stderr to Ray's C++ part as well, which knows only the descriptor."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _hush() -> None:
    """Leave the terminal to our own bar."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _ask(assignment: Assignment, needs: dict[str, int]) -> RunInfo:
    """Return what decides the masks of the run, as a process on a GPU sees it."""
    with _told():
        answer = ray.get(ray.remote(**needs)(survey).remote(assignment))
    if isinstance(answer, str):
        raise IsegError(answer)
    info: RunInfo = answer
    return info


@contextmanager
def _told() -> Iterator[None]:
    """Say in one sentence that Ray gave up; defects in our own code keep their traceback."""
    try:
        yield
    except RayTaskError:
        raise
    except RayError as error:
        raise IsegError(
            f"Ray gave up ({_first_line(error)}); finished masks stay, the same command resumes: "
            "with --engine local to see which image ends it, if one does"
        ) from None


def _for_others(plan: RunPlan, reader: Reader) -> RunPlan:
    """Return the plan with what other processes would look for themselves."""
    settings = plan.settings.model_copy(update={"root": reader.root.resolve()})
    return dataclasses.replace(plan, settings=settings, out=plan.out.resolve())


def _with_runtime(plan: RunPlan, **values: Any) -> RunPlan:
    runtime = plan.settings.runtime.model_copy(update=values)
    settings = plan.settings.model_copy(update={"runtime": runtime})
    return dataclasses.replace(plan, settings=settings)


def _wants_gpu(device: str) -> bool:
    if device in ("auto", "cpu"):
        return device == "auto" and _available("GPU") > 0
    if device != "cuda":
        raise SettingsError(
            f"Ray hands out the devices, so that --device {device} has no meaning with it; pass "
            "--device auto, cpu or cuda"
        )
    if not _available("GPU"):
        raise SettingsError("Ray finds no GPU; pass --device auto or --device cpu")
    return True


def _available(kind: str) -> int:
    """Return how many CPUs or GPUs the cluster has."""
    return int(ray.cluster_resources().get(kind, 0))


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
