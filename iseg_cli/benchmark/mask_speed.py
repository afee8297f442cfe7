"""`MaskSpeed`: the result of measuring how fast masks are made, and its JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from iseg_cli.benchmark.limits import Arithmetic


@dataclass(frozen=True)
class Setup:
    """The conditions of a measurement.

    Attributes:
        model: the model as the user named it.
        dataset: the dataset of the images.
        image_side: side of the model's square input, in pixels.
        device: the device, such as `cpu` or `cuda:0`.
        device_name: the manufacturer's name of it.
        dtype: the floating type of the model.
        threads: the number of CPU threads of torch.
        rounds: how many times each loop ran; figures are medians.
        settings: all settings, as in run.json.
        versions: the versions of Python, torch and diffusers.
    """

    model: str
    dataset: str
    image_side: int
    device: str
    device_name: str
    dtype: str
    threads: int
    rounds: int
    settings: Mapping[str, Any]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Loop:
    """The speed of a loop over images, from image files to mask files.

    Attributes:
        images: the number of images.
        images_per_second: measured after the first batch.
        peak_memory: the greatest memory in use, in bytes, with the model.
    """

    images: int
    images_per_second: float
    peak_memory: int


@dataclass(frozen=True)
class Stages:
    """Seconds of each stage for one image; stages run one after the other, each alone."""

    decode: float
    vae: float
    unet: float
    refinement: float
    assignment: float
    write: float

    def items(self) -> list[tuple[str, float]]:
        """Return each stage's name and seconds, as they run for an image."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


@dataclass(frozen=True)
class BatchResult:
    """The result for one batch size.

    Attributes:
        batch_size: the number of images in a batch.
        loop: the speed of `iseg generate`.
        stages: the time of each stage; None where their values do not fit into memory together.
        equal_pixels: share of the pixels with the same label in the plain path; None without it.
    """

    batch_size: int
    loop: Loop
    stages: Stages | None
    equal_pixels: float | None


@dataclass(frozen=True)
class MaskSpeed:
    """How fast masks are made.

    Attributes:
        setup: the conditions of the measurement.
        arithmetic: the operations for one image.
        device_rate: floating-point operations a second of a large matrix product.
        batches: the results, sorted by batch size; at least one.
        plain: the speed of the plain path, one image at a time; None where it was left out.
    """

    setup: Setup
    arithmetic: Arithmetic
    device_rate: float
    batches: tuple[BatchResult, ...]
    plain: Loop | None

    @property
    def best(self) -> BatchResult:
        """The batch size with most images a second."""
        return max(self.batches, key=lambda batch: batch.loop.images_per_second)

    @property
    def limit(self) -> float:
        """Images a second if all work were arithmetic as fast as the matrix product."""
        return self.device_rate / self.arithmetic.needed

    @property
    def speedup(self) -> float | None:
        """The speed of the best batch size, divided by that of the plain path; None without it."""
        return self.speedup_of(self.best)

    def speedup_of(self, batch: BatchResult) -> float | None:
        """Return the speed of a batch size, divided by that of the plain path; None without it."""
        if self.plain is None:
            return None
        return batch.loop.images_per_second / self.plain.images_per_second

    def share_of_limit(self, loop: Loop) -> float:
        """Return the share of the limit that a loop reaches."""
        return loop.images_per_second / self.limit


def masks_to_dict(speed: MaskSpeed) -> dict[str, Any]:
    """Return everything measured, and the figures derived from it, as JSON values."""
    return {
        "setup": asdict(speed.setup),
        "flop_per_image": {**asdict(speed.arithmetic), "needed": speed.arithmetic.needed},
        "device_flop_per_second": speed.device_rate,
        "limit_images_per_second": speed.limit,
        "plain": None if speed.plain is None else _loop_to_dict(speed, speed.plain),
        "batches": [
            {
                "batch_size": batch.batch_size,
                **_loop_to_dict(speed, batch.loop),
                "seconds_per_image": batch.stages and asdict(batch.stages),
                "speedup": speed.speedup_of(batch),
                "equal_pixels": batch.equal_pixels,
            }
            for batch in speed.batches
        ],
        "best_batch_size": speed.best.batch_size,
        "speedup": speed.speedup,
    }


def _loop_to_dict(speed: MaskSpeed, loop: Loop) -> dict[str, Any]:
    return {**asdict(loop), "share_of_limit": speed.share_of_limit(loop)}
