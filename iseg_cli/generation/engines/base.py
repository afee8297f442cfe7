"""The protocols of an engine and of its pool of workers."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from iseg_cli.generation.mask_generator import OnRecord
from iseg_cli.generation.plan import RunPlan
from iseg_cli.readers.base import Reader
from iseg_cli.storage import RunInfo


class WorkerPool(Protocol):
    """One or more processes that are ready to segment the images of a plan."""

    @property
    def info(self) -> RunInfo:
        """The provenance of their masks."""

    def work(self, image_ids: Sequence[str], on_record: OnRecord) -> None:
        """Segment the images, write their outputs and deliver every image's record, in any order.

        An image that cannot be segmented is delivered as failed.

        Raises:
            IsegError: an error that ends the whole run.
        """


class Engine(Protocol):
    """Runs a plan: in this process or in others."""

    def open(self, plan: RunPlan, reader: Reader) -> AbstractContextManager[WorkerPool]:
        """Return a pool of workers; at the end of the block they stop.

        Args:
            plan: the plan.
            reader: the plan's split of the dataset, open in this process.

        Raises:
            IsegError: a model, label source, setting or machine that cannot be used.
        """
