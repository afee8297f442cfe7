"""`MaskSpeed` as text for a terminal."""

from iseg_cli.benchmark.mask_speed import BatchResult, MaskSpeed
from iseg_cli.evaluation.text_table import aligned

GIGA = 1e9
GIB = 2**30
NONE = "-"


def masks_as_text(speed: MaskSpeed) -> str:
    """Return the conditions, a table of the figures, and the limit."""
    setup, arithmetic = speed.setup, speed.arithmetic
    lines = [
        f"{setup.model} on {setup.dataset} at {setup.image_side} px: {setup.device} "
        f"({setup.device_name}), {setup.dtype}, threads {setup.threads}, "
        f"torch {setup.versions['torch']}, median of {setup.rounds} rounds",
        "",
        aligned([HEADINGS, *_rows(speed)]),
        "Stages are milliseconds an image, each alone; images/s is the whole loop, in which some "
        "stages overlap.",
        f"An image takes {arithmetic.needed / GIGA:.1f} GFLOP (VAE {arithmetic.vae / GIGA:.1f}, "
        f"UNet {arithmetic.unet_needed / GIGA:.1f} of {arithmetic.unet / GIGA:.1f}); a large "
        f"matrix product runs at {speed.device_rate / GIGA:.0f} GFLOP/s here: at most "
        f"{speed.limit:.1f} images/s.",
    ]
    if speed.speedup is not None:
        lines.append(
            f"Best batch size {speed.best.batch_size}: {speed.speedup:.2f} times the plain path, "
            f"{_share(speed.best.equal_pixels)} of the pixels have the same label."
        )
    return "\n".join(lines)


HEADINGS = (
    *("batch", "images/s", "speed-up", "equal", "of limit", "peak GiB"),
    *("decode", "VAE", "UNet", "refine", "assign", "write"),
)


def _rows(speed: MaskSpeed) -> list[tuple[str, ...]]:
    rows = [_row(speed, batch) for batch in speed.batches]
    if speed.plain is not None:
        plain = speed.plain
        figures = (f"{plain.images_per_second:.2f}", "1.00", NONE)
        limits = (f"{speed.share_of_limit(plain):.1%}", f"{plain.peak_memory / GIB:.2f}")
        rows.insert(0, ("plain", *figures, *limits, *[NONE] * 6))
    return rows


def _row(speed: MaskSpeed, batch: BatchResult) -> tuple[str, ...]:
    ratio = speed.speedup_of(batch)
    stages = [NONE] * 6
    if batch.stages is not None:
        stages = [f"{1000 * seconds:.1f}" for _, seconds in batch.stages.items()]
    return (
        str(batch.batch_size),
        f"{batch.loop.images_per_second:.2f}",
        NONE if ratio is None else f"{ratio:.2f}",
        _share(batch.equal_pixels),
        f"{speed.share_of_limit(batch.loop):.1%}",
        f"{batch.loop.peak_memory / GIB:.2f}",
        *stages,
    )


def _share(equal: float | None) -> str:
    """Return a share in percent, truncated and not rounded, so that 100 % means all pixels."""
    if equal is None:
        return NONE
    return f"{int(equal * 100_000) / 1000:.3f}%"
