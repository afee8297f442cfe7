"""How long one image takes through the whole pipeline, against its VAE alone, in one run.

Example: python scripts/tiny_timing.py --threads 2
"""

import time
from collections.abc import Callable
from statistics import median

import click
import torch

from iseg_cli.config import load_settings
from iseg_cli.readers.images import load_image
from iseg_cli.readers.registry import open_dataset
from iseg_cli.workflows.pipeline import Segmenter, fit_image


def typical(work: Callable[[], object], times: int) -> float:
    """Median seconds of a piece of work, the first round left out."""
    spent = []
    for _ in range(times + 1):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return median(spent[1:])


@click.command(help=__doc__)
@click.option("--model", default="tiny", show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--times", default=30, show_default=True, help="Rounds of each.")
def main(model: str, threads: int, times: int) -> None:
    """Print the seconds of the VAE's encoder and of `Segmenter.segment`, and their ratio."""
    torch.set_num_threads(threads)
    segmenter = Segmenter.from_pretrained(model, settings=load_settings("emoji-voc"))
    reader = open_dataset("emoji-voc")
    image = load_image(reader.sample(reader.image_ids[0]).image_path)
    side = segmenter.model.image_size
    pixels = torch.from_numpy(fit_image(image, side)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        vae = typical(lambda: segmenter.model.vae.encode(pixels), times)
    whole = typical(lambda: segmenter.segment(image, categories=["dog", "car"]), times)
    click.echo(f"{model}, an image of {side} px, {threads} threads, median of {times}")
    click.echo(f"VAE encoder {vae:.4f} s, whole pipeline {whole:.4f} s, ratio {whole / vae:.1f}")


if __name__ == "__main__":
    main()
