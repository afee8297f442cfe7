"""The engine `ray`: a pool of Ray's actors, each with a model of its own.

Ray repeats a task whose process or node was lost. This is harmless: files are written whole and
have the same bytes each time. A task that kills its worker each time fails in the end.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.data

from iseg_cli.errors import IsegError, SettingsError
from iseg_cli.execution.iteration import batches
from iseg_cli.generation.engines.base import WorkerPool
from iseg_cli.generation.engines.ray_session import available, ray_errors, ray_session
from iseg_cli.generation.engines.ray_worker import ERROR, LINE, TASK, Worker, WorkerPlan, survey
from iseg_cli.generation.mask_generator import OnRecord
from iseg_cli.generation.plan import RunPlan, open_generator
from iseg_cli.readers.base import Reader
from iseg_cli.storage import ImageRecord, RunInfo

MOST_BATCHES = 8
"""The most batches in a task: decoding and writing overlap with the model, and little is lost."""

TASKS_A_WORKER = 8
"""The least number of tasks for each worker in a short run, so that workers end together."""


class RayEngine:
    """Runs a plan in Ray's processes: `--engine ray`."""

    def __init__(self, *, workers: int | None = None, address: str | None = None) -> None:
        self._workers, self._address = workers, address

    @contextmanager
    def open(self, plan: RunPlan, reader: Reader) -> Iterator[WorkerPool]:
        """Join or start Ray and find out the run's provenance; see `Engine`.

        This process knows it for a CPU. A GPU may be on other nodes alone, so a worker is asked.
        """
        plan = _for_other_processes(plan, reader)
        with ray_session(self._address):
            gpu = _wants_gpu(plan.settings.runtime.device)
            if not gpu:
                plan = _with_runtime(plan, device="cpu")
            workers = self._worker_count("GPU" if gpu else "CPU")
            needs = {"num_cpus": 1, "num_gpus": int(gpu)}
            if gpu:
                info = _ask_worker(WorkerPlan(plan, Path.cwd()), needs)
            else:
                info = open_generator(plan, reader)[1]
            plan = _with_runtime(plan, batch_size=info.batch_size, dtype=info.dtype)
            yield RayPool(WorkerPlan(plan, Path.cwd()), info, workers, needs)

    def _worker_count(self, kind: str) -> int:
        """Return how many workers to start; a cluster may grow, this machine does not."""
        there = available(kind)
        if self._workers is not None and self._address is None and self._workers > there:
            raise SettingsError(
                f"{self._workers} workers need a {kind} each, and Ray finds {there} here; pass "
                "fewer --workers, or a cluster as --ray-address"
            )
        return self._workers or there


@dataclass(frozen=True, eq=False)
class RayPool:
    """Actors that share the images of a run; they start with the first image. See `WorkerPool`."""

    worker_plan: WorkerPlan
    info: RunInfo
    workers: int
    needs: dict[str, int]

    def work(self, image_ids: Sequence[str], on_record: OnRecord) -> None:
        """Segment the images in the workers; deliver their records here."""
        if not image_ids:
            return
        size = _task_size(len(image_ids), int(self.info.batch_size), self.workers)
        tasks = [{TASK: json.dumps(task)} for task in batches(image_ids, size)]
        items = ray.data.from_items(tasks, override_num_blocks=len(tasks))
        rows = items.map_batches(
            Worker,
            fn_constructor_args=(self.worker_plan, self.info, _CountAttempts()),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(tasks))),
            **self.needs,
        )
        with ray_errors():
            for row in rows.iter_rows():
                if row[ERROR]:
                    raise IsegError(row[ERROR])
                on_record(ImageRecord.from_json(json.loads(row[LINE])))


class _Attempts:
    """Counts the attempts at each task, in a process of its own that outlives the workers."""

    def __init__(self) -> None:
        self._begun: dict[str, int] = {}

    def begin(self, task: str) -> int:
        """Return the number of attempts at a task, this one included."""
        self._begun[task] = self._begun.get(task, 0) + 1
        return self._begun[task]


class _CountAttempts:
    """Asks the process that counts attempts; each worker gets a copy."""

    def __init__(self) -> None:
        remote = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Attempts)
        self._attempts = remote.remote()

    def __call__(self, task: str) -> int:
        count: int = ray.get(self._attempts.begin.remote(task))
        return count


def _task_size(images: int, batch_size: int, workers: int) -> int:
    """Return how many images a task has: whole batches, at most `MOST_BATCHES`."""
    share = -(-images // batch_size) // (TASKS_A_WORKER * workers)
    return batch_size * min(max(share, 1), MOST_BATCHES)


def _ask_worker(worker_plan: WorkerPlan, needs: dict[str, int]) -> RunInfo:
    """Return the provenance of the run as a process on a GPU describes it."""
    with ray_errors():
        answer = ray.get(ray.remote(**needs)(survey).remote(worker_plan))
    if isinstance(answer, str):
        raise IsegError(answer)
    info: RunInfo = answer
    return info


def _for_other_processes(plan: RunPlan, reader: Reader) -> RunPlan:
    """Return the plan with absolute paths of the dataset and the output folder."""
    settings = plan.settings.model_copy(update={"root": reader.root.resolve()})
    return dataclasses.replace(plan, settings=settings, out=plan.out.resolve())


def _with_runtime(plan: RunPlan, **values: Any) -> RunPlan:
    runtime = plan.settings.runtime.model_copy(update=values)
    settings = plan.settings.model_copy(update={"runtime": runtime})
    return dataclasses.replace(plan, settings=settings)


def _wants_gpu(device: str) -> bool:
    """Tell whether each worker needs a GPU; SettingsError if Ray cannot provide the device."""
    if device in ("auto", "cpu"):
        return device == "auto" and available("GPU") > 0
    if device != "cuda":
        raise SettingsError(
            f"Ray assigns the devices, so --device {device} has no meaning with it; pass "
            "--device auto, cpu or cuda"
        )
    if not available("GPU"):
        raise SettingsError("Ray finds no GPU; pass --device auto or --device cpu")
    return True
