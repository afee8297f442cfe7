"""`measure_masks`: how fast `iseg generate` makes masks, compared with the plain path."""

import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch

from iseg_cli.backbones.loading import choose_device, choose_dtype
from iseg_cli.benchmark.architecture import write_sd21_architecture
from iseg_cli.benchmark.limits import Arithmetic, count_arithmetic, matrix_product_rate
from iseg_cli.benchmark.loops import forget_compiled
from iseg_cli.benchmark.mask_speed import BatchResult, Loop, MaskSpeed, Setup, Stages
from iseg_cli.benchmark.plan import ARCHITECTURE, BenchmarkPlan
from iseg_cli.benchmark.rounds import Rounds
from iseg_cli.benchmark.stages import time_stages
from iseg_cli.config import Settings, to_dict
from iseg_cli.errors import SettingsError
from iseg_cli.execution.device import open_model, whole_image_threads
from iseg_cli.execution.run_setup import fitting_background, label_source, open_reader
from iseg_cli.segmentation.segmenter import Segmenter


def measure_masks(plan: BenchmarkPlan, *, tell: Callable[[str], None]) -> MaskSpeed:
    """Return how fast masks are made.

    Args:
        plan: what to measure.
        tell: called with a line for the user at the start of each part.

    Raises:
        SettingsError: the task has no plain path, there are too few images for a batch size, or
            the smallest batch does not fit into memory.
    """
    _refuse(plan.settings)
    with tempfile.TemporaryDirectory(prefix="iseg-benchmark-") as scratch:
        folder = Path(scratch)
        with _model_of(plan.settings, folder, tell) as settings:
            return _measure(replace(plan, settings=settings), folder, plan.settings.model, tell)


def _measure(
    plan: BenchmarkPlan, folder: Path, model_name: str, tell: Callable[[str], None]
) -> MaskSpeed:
    device = choose_device(plan.settings.runtime.device)
    dtype = choose_dtype(plan.settings.runtime.dtype, device)
    tell("counting the arithmetic of an image")
    arithmetic, side = _count(plan.settings)
    rounds = Rounds(plan, folder, _images(plan, device, side), tell)
    rounds.search()
    for _ in range(plan.rounds - 1):
        rounds.again()
    stages = _time_all_stages(plan.settings, list(rounds.fast), folder, tell)
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
            BatchResult(size, _middle(found), stages[size], rounds.equal.get(size))
            for size, found in rounds.fast.items()
        ),
        _middle(rounds.plain) if rounds.plain else None,
    )


def _time_all_stages(
    settings: Settings, sizes: Sequence[int], folder: Path, tell: Callable[[str], None]
) -> dict[int, Stages | None]:
    """Return the stages' times for each batch size, with the number of threads of generate."""
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
    """Return the arithmetic of an image, and the side of the model's square input."""
    model = open_model(settings)
    return count_arithmetic(model, settings), model.image_size


@contextmanager
def _model_of(settings: Settings, folder: Path, tell: Callable[[str], None]) -> Iterator[Settings]:
    """Yield the settings with a model that can be loaded; random weights are written first."""
    if settings.model != ARCHITECTURE:
        yield settings
        return
    tell("writing 2.5 GB of random weights")
    write_sd21_architecture(folder / "model")
    yield settings.model_copy(update={"model": str(folder / "model")})


def _images(plan: BenchmarkPlan, device: torch.device, side: int) -> int:
    """Return the number of images of each loop, at most those of the split."""
    suiting = 256 if device.type == "cuda" else 128 if side <= 256 else 4
    return min(plan.images or suiting, len(open_reader(plan.settings)))


def _refuse(settings: Settings) -> None:
    """Raise SettingsError for settings that the plain path cannot be compared with."""
    if settings.task != "wsss" or settings.fusion != "none" or settings.labels == "clip":
        raise SettingsError(
            "iseg benchmark measures masks from given labels by diffusion alone; set task to wsss, "
            "fusion to none and labels to any source except clip"
        )


def _middle(loops: Sequence[Loop]) -> Loop:
    """Return a loop with the median speed."""
    return replace(loops[0], images_per_second=median(one.images_per_second for one in loops))


def _device_name(device: torch.device) -> str:
    """Return the manufacturer's name of a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
