"""`MaskSpeed` as a plot: images a second by batch size, and the time of each stage."""

import io
from importlib.util import find_spec

from iseg_cli.benchmark.mask_speed import MaskSpeed

MISSING = "No plot: matplotlib is not installed; run pip install 'iseg-cli[plots]' for one."
"""The message where no plot can be drawn."""


def can_plot() -> bool:
    """Return whether matplotlib, which is optional, is installed."""
    return find_spec("matplotlib") is not None


def masks_as_png(speed: MaskSpeed) -> bytes:
    """Return a PNG of throughput and stages by batch size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    throughput, stages = figure.subplots(1, 2)
    labels = [str(batch.batch_size) for batch in speed.batches]

    rates = [batch.loop.images_per_second for batch in speed.batches]
    throughput.bar(labels, rates, label="iseg generate")
    if speed.plain is not None:
        throughput.axhline(
            speed.plain.images_per_second, color="black", linestyle="--", label="plain path"
        )
    throughput.axhline(speed.limit, color="tab:red", linestyle=":", label="arithmetic limit")
    throughput.set(xlabel="batch size", ylabel="images/s", title="Throughput")
    throughput.legend()

    timed = [batch for batch in speed.batches if batch.stages is not None]
    bottoms = [0.0] * len(timed)
    names = [name for name, _ in timed[0].stages.items()] if timed and timed[0].stages else []
    for name in names:
        heights = [1000 * getattr(batch.stages, name) for batch in timed]
        stages.bar([str(batch.batch_size) for batch in timed], heights, bottom=bottoms, label=name)
        bottoms = [below + height for below, height in zip(bottoms, heights, strict=True)]
    stages.set(xlabel="batch size", ylabel="ms an image", title="Stages, each alone")
    if names:
        stages.legend()

    setup = speed.setup
    figure.suptitle(f"{setup.model}, {setup.image_side} px, {setup.device_name}, {setup.dtype}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
