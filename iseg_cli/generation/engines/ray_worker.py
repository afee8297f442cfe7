"""The worker in each of Ray's processes, with a mask generator of its own. It imports no Ray."""

import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from iseg_cli.errors import IsegError, PredictionsError
from iseg_cli.files.pillow import set_up_pillow
from iseg_cli.generation.mask_generator import OnRecord
from iseg_cli.generation.plan import RunPlan, open_generator
from iseg_cli.storage import ImageRecord, RunInfo
from iseg_cli.storage.journal import record_line
from iseg_cli.storage.run_info import read_info

THREADS = 1
"""PyTorch's threads in a process on a CPU: every core has a process."""

MOST_ATTEMPTS = 6
"""The most attempts at a task whose worker dies each time: one of its images may kill it."""

TASK = "task"
"""The column of the rows to a worker: the ids of a task's images, as JSON."""

LINE, ERROR = "line", "error"
"""The columns of the rows from a worker: an image's record, or the error that ends the run."""


@dataclass(frozen=True)
class WorkerPlan:
    """A plan for another process.

    Attributes:
        plan: the plan.
        folder: the working directory of the plan's relative paths.
    """

    plan: RunPlan
    folder: Path

    def enter(self) -> None:
        """Change to the plan's working directory; machines without it need absolute paths."""
        with suppress(OSError):
            os.chdir(self.folder)


def survey(worker_plan: WorkerPlan) -> RunInfo | str:
    """Return the provenance of a process's masks, or the error if it can make none."""
    worker_plan.enter()
    try:
        return open_generator(worker_plan.plan, threads=THREADS)[1]
    except IsegError as error:
        return str(error)


class Worker:
    """One of Ray's actors: loads the model once, then segments the images of its tasks.

    An error that a user can fix is returned in the rows. An exception would be a traceback of Ray.
    """

    def __init__(
        self, worker_plan: WorkerPlan, expected: RunInfo, begin: Callable[[str], int]
    ) -> None:
        """Load the model.

        Args:
            worker_plan: the plan.
            expected: the provenance of the run.
            begin: counts an attempt at the task of a name; returns the attempts of all workers.
        """
        worker_plan.enter()
        self._begin = begin
        self._failure = ""
        try:
            set_up_pillow()
            self._generator, info = open_generator(worker_plan.plan, threads=THREADS)
            _check(info, expected, worker_plan.plan.out)
        except IsegError as error:
            self._failure = str(error)

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Segment the images of some tasks; return a row for each image."""
        records: list[ImageRecord] = []
        if not self._failure:
            try:
                for task in batch[TASK]:
                    self._make(json.loads(task), records.append)
            except IsegError as error:
                self._failure = str(error)
        lines = [record_line(record) for record in records]
        if not self._failure:
            return {LINE: lines, ERROR: [""] * len(lines)}
        return {LINE: [*lines, ""], ERROR: [*([""] * len(lines)), self._failure]}

    def _make(self, image_ids: Sequence[str], on_record: OnRecord) -> None:
        """Segment a task's images; after too many attempts, deliver them as failed."""
        if self._begin(image_ids[0]) <= MOST_ATTEMPTS:
            with self._generator.paths.naming_removal():
                self._generator.run(image_ids, on_record)
            return
        for image_id in image_ids:
            reason = (
                f"{MOST_ATTEMPTS} workers in turn died (killed, or out of memory) while they "
                "worked on it and its neighbours; run again, with --engine local to see why"
            )
            self._generator.fail(image_id, reason, on_record)


def _check(info: RunInfo, expected: RunInfo, out: Path) -> None:
    """Raise PredictionsError if this node makes other masks or does not see the output folder."""
    here = socket.gethostname()
    if changed := expected.differences(info):
        raise PredictionsError(
            f"{here} would make other masks ({', '.join(changed)}); install the same versions and "
            "weights on every node, or pass --dtype and --batch-size"
        )
    if read_info(out) is None:
        raise PredictionsError(
            f"{here} does not see {out} with the run in it; pass an --out on storage that all "
            "nodes share"
        )
