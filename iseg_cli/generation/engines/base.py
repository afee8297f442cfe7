"""What a run needs of those who do its work."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from iseg_cli.generation.mask_generator import OnRecord
from iseg_cli.generation.plan import RunPlan
from iseg_cli.readers.base import Reader
from iseg_cli.storage import RunInfo


class WorkerPool(Protocol):
    """One or more processes that are ready to make the masks of a plan."""

    @property
    def info(self) -> RunInfo:
        """What decides the masks that they make."""

    def work(self, image_ids: Sequence[str], on_record: OnRecord) -> None:
        """Make the files of the images and deliver every image's record, in any order.

        An image that cannot be segmented is delivered as failed.

        Raises:
            IsegError: what ends the whole run.
        """


class Engine(Protocol):
    """A way to do the work of a run."""

    def open(self, plan: RunPlan, reader: Reader) -> AbstractContextManager[WorkerPool]:
        """Make a crew ready, and send it home at the end of the block.

        Args:
            plan: what is to be done.
            reader: the plan's split of the dataset, open in this process.

        Raises:
            IsegError: a model, label source, setting or machine that cannot be used.
        """
