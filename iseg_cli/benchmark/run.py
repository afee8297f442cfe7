"""`iseg benchmark`: batch sizes until they no longer pay, each beside the plain path."""

import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from iseg_cli.backbones.loading import choose_device, choose_dtype
from iseg_cli.backbones.matching import find_backbone
from iseg_cli.benchmark.architecture import write_sd21_architecture
from iseg_cli.benchmark.limits import Arithmetic, count_arithmetic, matrix_product_rate
from iseg_cli.benchmark.loops import equal_pixels, forget_compiled, run_generate, run_plain
from iseg_cli.benchmark.result import BatchResult, Loop, MaskSpeed, Setup, Stages
from iseg_cli.benchmark.stages import time_stages
from iseg_cli.config import Settings, to_dict
from iseg_cli.config.resolve import resolve_settings
from iseg_cli.errors import SettingsError
from iseg_cli.execution.device import open_model, whole_image_threads
from iseg_cli.execution.run_setup import fitting_background, label_source, open_reader
from iseg_cli.segmentation.segmenter import Segmenter

ARCHITECTURE = "sd2.1-architecture"
"""The name of SD 2.1's architecture with random weights."""
PAYS = 1.05
"""A batch size pays if it makes this many times as many images a second as any smaller one."""
LARGEST = 64
"""The largest batch size that is tried unasked."""


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        settings: dataset, model and method; the model may be `sd2.1-architecture`.
        images: how many go through each loop; None for as many as suit model and device.
        batch_sizes: in rising order; None for 1, 2, 4 ... until it no longer pays.
        rounds: how often each loop runs; the median counts.
        with_plain: whether to run the plain path.
    """

    settings: Settings
    images: int | None = None
    batch_sizes: tuple[int, ...] | None = None
    rounds: int = 3
    with_plain: bool = True


def benchmark_settings(
    configs: Sequence[str],
    assignments: Sequence[str],
    options: dict[str, Any],
    *,
    tell: Callable[[str], None] = lambda note: None,
) -> Settings:
    """Lay configurations, assignments and options over the preset that suits the model.

    The embedded dataset's own preset is for the embedded model; any other gets that of VOC, with
    the released code's values. Without a model SD 2.1's architecture is measured on CUDA, `tiny`
    elsewhere.
    """
    options = {**options, "dataset": options.get("dataset") or "emoji-voc"}
    if options.get("model") is None and not configs:
        device = choose_device(options.get("runtime.device") or "auto")
        options["model"] = ARCHITECTURE if device.type == "cuda" else "tiny"
    if options["dataset"] == "emoji-voc" and options.get("model") not in (None, "tiny"):
        configs = configs or ("voc",)
    return resolve_settings(
        configs, assignments, options, find_backbone=partial(find_backbone, tell=tell)
    )


def measure_masks(plan: Plan, *, tell: Callable[[str], None]) -> MaskSpeed:
    """Measure how fast masks are made.

    Args:
        plan: what to measure.
        tell: is given a line at the start of each part, for the user to see.

    Raises:
        SettingsError: a task that has no plain path, too few images for a batch size, or not even
            the smallest batch fits into memory.
    """
    _refuse(plan.settings)
    with tempfile.TemporaryDirectory(prefix="iseg-benchmark-") as scratch:
        folder = Path(scratch)
        with _model_of(plan.settings, folder, tell) as settings:
            return _measure(replace(plan, settings=settings), folder, plan.settings.model, tell)


def _measure(plan: Plan, folder: Path, model_name: str, tell: Callable[[str], None]) -> MaskSpeed:
    device = choose_device(plan.settings.runtime.device)
    dtype = choose_dtype(plan.settings.runtime.dtype, device)
    tell("counting the arithmetic of an image")
    arithmetic, side = _count(plan.settings)
    loops = _Loops(plan, folder, _images(plan, device, side), tell)
    loops.search()
    for _ in range(plan.rounds - 1):
        loops.again()
    stages = _time_all_stages(plan.settings, list(loops.fast), folder, tell)
    tell("multiplying large matrices")
    rate = matrix_product_rate(device, dtype, side=8192 if device.type == "cuda" else 2048)
    return MaskSpeed(
        Setup(
            model=model_name,
            dataset=plan.settings.dataset,
            image_side=side,
            device=str(device),
            device_name=_device_name(device),
            dtype=str(dtype).removeprefix("torch."),
            threads=torch.get_num_threads(),
            rounds=plan.rounds,
            settings=to_dict(plan.settings.model_copy(update={"model": model_name})),
            versions={
                "python": platform.python_version(),
                **{name: version(name) for name in ("iseg-cli", "torch", "diffusers")},
            },
        ),
        arithmetic,
        rate,
        tuple(
            BatchResult(size, _middle(found), stages[size], loops.equal.get(size))
            for size, found in loops.fast.items()
        ),
        _middle(loops.plain) if loops.plain else None,
    )


class _Loops:
    """The loops of all batch sizes and the plain path, round after round."""

    def __init__(self, plan: Plan, folder: Path, images: int, tell: Callable[[str], None]) -> None:
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


def _time_all_stages(
    settings: Settings, sizes: Sequence[int], folder: Path, tell: Callable[[str], None]
) -> dict[int, Stages | None]:
    """Time the stages of each batch size, with as many threads as generate would use."""
    model = open_model(settings)
    reader = open_reader(settings)
    settings = fitting_background(settings, reader.label_set)
    source = label_source(settings, reader)
    words = reader.label_set.background_words
    threads = torch.get_num_threads()
    found: dict[int, Stages | None] = {}
    for size in sizes:
        tell(f"stages, batch size {size}")
        if model.device.type == "cpu":
            torch.set_num_threads(whole_image_threads(size, threads))
        forget_compiled(settings)
        segmenter = Segmenter(model, settings, background_words=words, batch_size=size)
        try:
            found[size] = time_stages(segmenter, reader, source, folder=folder / "stages")
        except torch.OutOfMemoryError:
            found[size] = None
        finally:
            torch.set_num_threads(threads)
    return found


def _count(settings: Settings) -> tuple[Arithmetic, int]:
    """Return the arithmetic of an image, and the side of the square that the model takes."""
    model = open_model(settings)
    return count_arithmetic(model, settings), model.image_size


@contextmanager
def _model_of(settings: Settings, folder: Path, tell: Callable[[str], None]) -> Iterator[Settings]:
    """Yield the settings with a model that can be loaded."""
    if settings.model != ARCHITECTURE:
        yield settings
        return
    tell("drawing 2.5 GB of random weights")
    write_sd21_architecture(folder / "model")
    yield settings.model_copy(update={"model": str(folder / "model")})


def _images(plan: Plan, device: torch.device, side: int) -> int:
    """Return how many images go through each loop, at most what the split has."""
    suiting = 256 if device.type == "cuda" else 128 if side <= 256 else 4
    return min(plan.images or suiting, len(open_reader(plan.settings)))


def _refuse(settings: Settings) -> None:
    """Raise SettingsError for what cannot be measured beside the plain path."""
    if settings.task != "wsss" or settings.fusion != "none" or settings.labels == "clip":
        raise SettingsError(
            "iseg benchmark measures masks from given labels by diffusion alone; leave the task at "
            "wsss, fusion at none, and labels at something else than clip"
        )


def _middle(loops: Sequence[Loop]) -> Loop:
    """Return a loop of the median speed."""
    return replace(loops[0], images_per_second=median(one.images_per_second for one in loops))


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
