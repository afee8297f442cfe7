"""The engine `local`: this process, with one model and threads for images and files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from iseg_cli.generation.engines.base import WorkerPool
from iseg_cli.generation.mask_generator import MaskGenerator, OnRecord
from iseg_cli.generation.plan import RunPlan, open_generator
from iseg_cli.readers.base import Reader
from iseg_cli.storage import RunInfo


@dataclass(frozen=True, eq=False)
class LocalPool:
    """This process as the only worker; see `WorkerPool`."""

    generator: MaskGenerator
    info: RunInfo

    def work(self, image_ids: Sequence[str], on_record: OnRecord) -> None:
        """Segment the images here."""
        with self.generator.paths.naming_removal():
            self.generator.run(image_ids, on_record)


class LocalEngine:
    """Runs a plan in this process: `--engine local`."""

    @contextmanager
    def open(self, plan: RunPlan, reader: Reader) -> Iterator[WorkerPool]:
        """Load the model here; see `Engine`."""
        yield LocalPool(*open_generator(plan, reader))
