"""Draw the figures of docs/embedded-model.md: the learning curve, and images the model samples.

Example: python scripts/tiny_figures.py
"""

import csv
from pathlib import Path

import click
import matplotlib as mpl
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from tiny.catalog import caption

from iseg_cli.resources import TINY_MODEL

DOCS = Path(__file__).parents[1] / "docs"
CURVE = DOCS / "data" / "learning-curve.csv"
PROMPTS = (
    ("dog",), ("car",), ("bus",), ("sheep",), ("boat",), ("plane",),
    ("dog", "car"), ("cat", "boat"), ("horse", "sofa"), ("bird", "train"), ("cow", "bicycle"),
    ("person", "bottle"),
)  # fmt: skip
COLUMNS = 6
STEPS = 40
GUIDANCE = 5.0
SEED = 3
SIDE = 128


def draw_curve(rows: list[dict[str, str]]) -> Figure:
    """Mean IoU of raw cross-attention against samples seen, one line a resolution of the maps."""
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for column, title in (("full_32", "maps of side L"), ("half_32", "maps of side L/2")):
        points = [
            (int(row["samples"]) / 1000, float(row[column])) for row in rows if row.get(column)
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker=".", label=title)
    first = max(int(row["samples"]) for row in rows if row["run"] == "1") / 1000
    axes.axvline(first, color="0.7", linestyle="--", linewidth=1)
    axes.annotate(
        "VAE mended", (first, axes.get_ylim()[0]), xytext=(4, 4), textcoords="offset points"
    )
    axes.set(
        xlabel="scenes seen (thousands)", ylabel="mIoU (%)", title="Raw cross-attention, L = 32"
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def sample(pipeline: StableDiffusionPipeline, words: tuple[str, ...], seed: int) -> Image.Image:
    """One image of some categories, drawn by DDIM."""
    generator = torch.Generator().manual_seed(seed)
    picture: Image.Image = pipeline(
        caption(list(words)),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=generator,
        height=SIDE,
        width=SIDE,
    ).images[0]
    return picture


def draw_samples(pipeline: StableDiffusionPipeline) -> Image.Image:
    """A grid of sampled images, each with its words under it."""
    rows = -(-len(PROMPTS) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + 4), rows * (SIDE + 18)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, words in enumerate(PROMPTS):
        left, top = index % COLUMNS * (SIDE + 4), index // COLUMNS * (SIDE + 18)
        sheet.paste(sample(pipeline, words, SEED), (left, top))
        pen.text((left + 2, top + SIDE + 2), ", ".join(words), fill="black")
    return sheet


@click.command(help=__doc__)
@click.option(
    "--model",
    type=click.Path(path_type=Path, file_okay=False),
    default=TINY_MODEL,
    help="Folder of the model.  [default: the embedded one]",
)
def main(model: Path) -> None:
    """Write docs/images/learning-curve.png and docs/images/samples.jpg."""
    mpl.use("Agg")
    with CURVE.open(newline="", encoding="utf-8") as file:
        draw_curve(list(csv.DictReader(file))).savefig(
            DOCS / "images" / "learning-curve.png", dpi=110
        )
    pipeline = StableDiffusionPipeline.from_pretrained(
        model, safety_checker=None, requires_safety_checker=False
    )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    draw_samples(pipeline).save(DOCS / "images" / "samples.jpg", quality=88)


if __name__ == "__main__":
    main()
