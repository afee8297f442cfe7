"""Rounds of a benchmark: every batch size and the plain path, once a round."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from iseg_cli.benchmark.loops import equal_pixels, run_generate, run_plain
from iseg_cli.benchmark.mask_speed import Loop
from iseg_cli.benchmark.plan import BenchmarkPlan
from iseg_cli.errors import SettingsError

PAYS = 1.05
"""A batch size pays if it makes this many times as many images a second as any smaller one."""
LARGEST = 64
"""The largest batch size that is tried unasked."""


class Rounds:
    """The loops of all batch sizes and the plain path, round after round."""

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
            if self.plan.batch_sizes is None and found.images_per_second < PAYS * best:
                break
            best = max(best, found.images_per_second)
        if self.plan.with_plain:
            self.plain.append(self._plain())
            for size in self.fast:
                self.equal[size] = equal_pixels(self._folder(size), self._folder(0))

    def again(self) -> None:
        """Run one more round of what the search found."""
        for size, found in self.fast.items():
            # What else is in memory by now does not count for the peak: that of the first stays.
            found.append(replace(self._generate(size), peak_memory=found[0].peak_memory))
        if self.plain:
            self.plain.append(self._plain())

    def _candidates(self) -> Iterator[int]:
        """Yield the batch sizes to try: two batches of each must be there."""
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
        while size <= min(LARGEST, self.images // 2):
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
        """Return the folder of a batch size's masks, 0 for the plain path's; a new one if fresh."""
        made = len(self.fast.get(size, ())) if size else len(self.plain)
        return self.folder / "masks" / f"{size}-{made if fresh else made - 1}"
