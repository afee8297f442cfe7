"""What a benchmark found: frozen values, and the JSON that keeps them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from iseg_cli.benchmark.limits import Arithmetic


@dataclass(frozen=True)
class Setup:
    """What was measured on what.

    Attributes:
        model: as it was asked for.
        dataset: whose images were segmented.
        image_side: side of the square that the model takes, in pixels.
        device: the kind, such as `cpu` or `cuda:0`.
        device_name: what its maker calls it.
        dtype: in which the model computes.
        threads: that arithmetic on the CPU may use.
        rounds: how often each loop ran; figures are medians.
        settings: all settings, as in run.json.
        versions: of Python, torch and diffusers.
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
    """A loop over images, from their files to their masks' files.

    Attributes:
        images: how many.
        images_per_second: once the first batch is done.
        peak_memory: bytes in use at most, the model among them.
    """

    images: int
    images_per_second: float
    peak_memory: int


@dataclass(frozen=True)
class Stages:
    """Seconds that each stage takes for one image, alone and one after the other."""

    decode: float
    vae: float
    unet: float
    refinement: float
    assignment: float
    write: float

    def items(self) -> list[tuple[str, float]]:
        """Return each stage's name and seconds, in the order in which an image meets them."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


@dataclass(frozen=True)
class BatchResult:
    """What one batch size gives.

    Attributes:
        batch_size: images at a time.
        loop: `iseg generate` itself.
        stages: its parts by themselves; None where their values do not fit into memory together.
        equal_pixels: share of the pixels that the plain path labels alike; None without one.
    """

    batch_size: int
    loop: Loop
    stages: Stages | None
    equal_pixels: float | None


@dataclass(frozen=True)
class MaskSpeed:
    """How fast masks are made.

    Attributes:
        setup: what was measured on what.
        arithmetic: of one image.
        device_rate: floating-point operations a second of a large matrix product.
        batches: by batch size, one at least.
        plain: the plain path, one image at a time; None where it was left out.
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
        """Images a second if arithmetic ran as fast as the matrix product, and all else at once."""
        return self.device_rate / self.arithmetic.needed

    @property
    def speedup(self) -> float | None:
        """How many times as fast as the plain path the best batch size is."""
        return self.speedup_of(self.best)

    def speedup_of(self, batch: BatchResult) -> float | None:
        """Return how many times as fast as the plain path a batch size is; None without one."""
        if self.plain is None:
            return None
        return batch.loop.images_per_second / self.plain.images_per_second

    def share_of_limit(self, loop: Loop) -> float:
        """Return the share of the limit that a loop reaches."""
        return loop.images_per_second / self.limit


def masks_to_dict(speed: MaskSpeed) -> dict[str, Any]:
    """Return all that was measured, and what follows from it, as plain JSON values."""
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
