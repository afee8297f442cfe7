"""What runs in Ray's processes: a job of its own in each. Ray itself is not needed here."""

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
"""PyTorch's threads in a process on a CPU: there is a process for every core."""

MOST_ATTEMPTS = 6
"""At a task whose worker dies each time: one of its images may be what kills it."""

TASK = "task"
"""The column of the rows that come: the ids of a task's images, as JSON."""

LINE, ERROR = "line", "error"
"""The columns of the rows that go back: an image's record, or what ends the run."""


@dataclass(frozen=True)
class Assignment:
    """A plan on its way to other processes.

    Attributes:
        plan: what is to be done.
        folder: the working directory that its relative paths start from.
    """

    plan: RunPlan
    folder: Path

    def enter(self) -> None:
        """Go where the plan's paths lead from; machines without that folder need absolute ones."""
        with suppress(OSError):
            os.chdir(self.folder)


def survey(assignment: Assignment) -> RunInfo | str:
    """Return what decides the masks that a process makes, or why it can make none."""
    assignment.enter()
    try:
        return open_generator(assignment.plan, threads=THREADS)[1]
    except IsegError as error:
        return str(error)


class Worker:
    """One of Ray's actors: loads the model once, then makes masks until there is nothing to do.

    What a user can put right comes back in the rows, since an exception would reach them as a
    traceback of Ray's.
    """

    def __init__(
        self, assignment: Assignment, expected: RunInfo, begin: Callable[[str], int]
    ) -> None:
        """Load the model.

        Args:
            assignment: what is to be done.
            expected: what decides the masks of the run.
            begin: notes that the task of a name begins and returns how often it has by now, in
                whatever worker.
        """
        assignment.enter()
        self._begin = begin
        self._failure = ""
        try:
            set_up_pillow()
            self._generator, info = open_generator(assignment.plan, threads=THREADS)
            _check(info, expected, assignment.plan.out)
        except IsegError as error:
            self._failure = str(error)

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Make the files of the images of some tasks; return a row for each image."""
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
        """Make the files of a task's images, unless it has cost too many workers."""
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
    """Refuse to make other masks than the others, or to write them where nobody looks."""
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
