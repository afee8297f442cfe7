"""Draw the figures of scripts/tiny/NOTES.md: the learning curves, and images the model samples.

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
from tiny.unet import SHARPNESS, set_sharpness

from iseg_cli.config.resources import TINY_MODEL

DOCS = Path(__file__).parents[1] / "docs"
UNET_CURVE = DOCS / "data" / "learning-curve.csv"
CLIP_CURVE = DOCS / "data" / "clip-learning-curve.csv"
EXPORTED = 224_000  # scenes that the first run had seen at the step that the others went on from
PROMPTS = (
    ("dog",), ("car",), ("bus",), ("sheep",), ("boat",), ("cat",),
    ("potted plant",), ("person",), ("horse",), ("sofa",), ("bird",), ("train",),
    ("dog", "car"), ("cat", "boat"), ("sheep", "bus"), ("bird", "train"), ("cow", "bicycle"),
    ("person", "bottle"),
)  # fmt: skip
COLUMNS = 6
STEPS = 60
GUIDANCE = 8.0
RESCALE = 0.7  # of the guided prediction's spread to that of the words alone: no glaring colors
FIRST_SEED = 20
SIDE = 64  # the size of its training: at 128 px textures are right and shapes are not
SHOWN = 128


def read_rows(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV file by its header."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def draw_curves(unet: list[dict[str, str]], clip: list[dict[str, str]]) -> Figure:
    """Two panels against scenes seen: the UNet's raw maps, and the classes that the CLIP finds."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    runs = (
        ("1", 0, "first run"),
        ("2", EXPORTED, "second run"),
        ("2 again", EXPORTED, "second run, scored by the product"),
        ("3", EXPORTED, "third run (shipped), on other scenes"),
    )
    for run, before, title in runs:
        points = [
            ((before + int(row["samples"])) / 1000, float(row["full_32"]))
            for row in unet
            if row["run"] == run and row["full_32"]
        ]
        left.plot(*zip(*points, strict=True), marker=".", label=title)
    left.set(title="UNet: raw maps of the decoder at L", ylabel="mIoU (%)")
    for column, title in (("image_map", "image"), ("patches_map", "best patch")):
        right.plot(
            [int(row["samples"]) / 1000 for row in clip],
            [100 * float(row[column]) for row in clip],
            label=title,
        )
    right.set(title="CLIP: classes in an image", ylabel="mean average precision (%)")
    for axes in (left, right):
        axes.set_xlabel("scenes seen (thousands)")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    return figure


def load_pipeline(model: Path, sharpness: float) -> StableDiffusionPipeline:
    """The model's pipeline with DDIM, its kernel at a sharpness: that of training suits 64 px."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        model, safety_checker=None, requires_safety_checker=False
    )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    set_sharpness(pipeline.unet, sharpness)
    return pipeline


def sample(pipeline: StableDiffusionPipeline, words: tuple[str, ...], seed: int) -> Image.Image:
    """One image of some categories, drawn by DDIM that adds as much noise as DDPM does."""
    picture: Image.Image = pipeline(
        caption(list(words)),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        guidance_rescale=RESCALE,
        eta=1.0,
        generator=torch.Generator().manual_seed(seed),
        height=SIDE,
        width=SIDE,
    ).images[0]
    return picture.resize((SHOWN, SHOWN), Image.Resampling.BICUBIC)


def draw_samples(pipeline: StableDiffusionPipeline) -> Image.Image:
    """A grid of sampled images, each of noise of its own and with its words under it."""
    rows = -(-len(PROMPTS) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SHOWN + 4), rows * (SHOWN + 18)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, words in enumerate(PROMPTS):
        left, top = index % COLUMNS * (SHOWN + 4), index // COLUMNS * (SHOWN + 18)
        sheet.paste(sample(pipeline, words, FIRST_SEED + index), (left, top))
        pen.text((left + 2, top + SHOWN + 2), ", ".join(words), fill="black")
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
    curves = draw_curves(read_rows(UNET_CURVE), read_rows(CLIP_CURVE))
    curves.savefig(DOCS / "images" / "learning-curve.png", dpi=110)
    pipeline = load_pipeline(model, SHARPNESS)
    draw_samples(pipeline).save(DOCS / "images" / "samples.jpg", quality=88)


if __name__ == "__main__":
    main()
