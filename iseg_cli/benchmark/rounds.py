"""`Rounds`: the loops of all batch sizes and the plain path, each once a round."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from iseg_cli.benchmark.loops import equal_pixels, run_generate, run_plain
from iseg_cli.benchmark.mask_speed import Loop
from iseg_cli.benchmark.plan import BenchmarkPlan
from iseg_cli.errors import SettingsError

MIN_GAIN = 1.05
"""The search goes on while a batch size is this many times as fast as every smaller one."""
MAX_BATCH_SIZE = 64
"""The largest batch size that the search tries."""


class Rounds:
    """The loops of all batch sizes and the plain path, round after round.

    Attributes:
        fast: batch size -> the loops of `iseg generate`, one a round.
        plain: the loops of the plain path, one a round.
        equal: batch size -> the share of pixels with the same label in the plain path.
    """

    def __init__(
        self, plan: BenchmarkPlan, folder: Path, images: int, tell: Callable[[str], None]
    ) -> None:
        self.plan, self.folder, self.images, self.tell = plan, folder, images, tell
        self.fast: dict[int, list[Loop]] = {}
        self.plain: list[Loop] = []
        self.equal: dict[int, float] = {}

    def search(self) -> None:
        """Run the first round: batch size after batch size, then the plain path."""
        best = 0.0
        for size in self._candidates():
            try:
                found = self._generate(size)
            except SettingsError:
                if not self.fast:
                    raise
                self.tell(f"batch size {size} does not fit into memory")
                break
            self.fast[size] = [found]
            if self.plan.batch_sizes is None and found.images_per_second < MIN_GAIN * best:
                break
            best = max(best, found.images_per_second)
        if self.plan.with_plain:
            self.plain.append(self._plain())
            for size in self.fast:
                self.equal[size] = equal_pixels(self._folder(size), self._folder(0))

    def again(self) -> None:
        """Run one more round with the batch sizes of the search."""
        for size, found in self.fast.items():
            # The peak of the first round stays: later ones include memory of earlier rounds.
            found.append(replace(self._generate(size), peak_memory=found[0].peak_memory))
        if self.plain:
            self.plain.append(self._plain())

    def _candidates(self) -> Iterator[int]:
        """Yield the batch sizes to try; each needs images for two batches."""
        if self.plan.batch_sizes is not None:
            largest = max(self.plan.batch_sizes)
            if 2 * largest > self.images:
                raise SettingsError(
                    f"a batch size of {largest} takes {2 * largest} images at least, but there are "
                    f"{self.images}; pass a larger --images or smaller sizes in --batch-size"
                )
            yield from self.plan.batch_sizes
            return
        size = 1
        while size <= min(MAX_BATCH_SIZE, self.images // 2):
            yield size
            size *= 2

    def _generate(self, size: int) -> Loop:
        self.tell(f"iseg generate, batch size {size}")
        count = self.images // size * size  # whole batches
        return run_generate(
            self.plan.settings, batch_size=size, images=count, out=self._folder(size, fresh=True)
        )

    def _plain(self) -> Loop:
        self.tell("plain path")
        out = self._folder(0, fresh=True)
        return run_plain(self.plan.settings, images=self.images, out=out)

    def _folder(self, size: int, *, fresh: bool = False) -> Path:
        """Return the latest folder of a batch size's masks, a new one if `fresh`.

        Batch size 0 stands for the plain path.
        """
        made = len(self.fast.get(size, ())) if size else len(self.plain)
        return self.folder / "masks" / f"{size}-{made if fresh else made - 1}"
