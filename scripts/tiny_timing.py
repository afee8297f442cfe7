"""How long one image takes through the whole pipeline, against its VAE's encoder, in one run.

Example: python scripts/tiny_timing.py --threads 2

On a machine with other work, wall clocks say little: so the ratio of processor times is printed
too, and every measurement ends after --seconds, however few its rounds.
"""

import os
import time
from collections.abc import Callable
from statistics import median

import click


def typical(work: Callable[[], object], *, times: int, seconds: float) -> tuple[float, float, int]:
    """Median wall and processor seconds of a piece of work, and of how many rounds.

    The first round is left out. At least one other is measured, and no more once `seconds` are
    over.
    """
    work()
    begun = time.perf_counter()
    walls: list[float] = []
    processor: list[float] = []
    while len(walls) < times and (not walls or time.perf_counter() - begun < seconds):
        wall, used = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        processor.append(time.process_time() - used)
    return median(walls), median(processor), len(walls)


@click.command(help=__doc__)
@click.option("--model", default="tiny", show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--times", default=30, show_default=True, help="Rounds of each, at most.")
@click.option("--seconds", default=15.0, show_default=True, help="For the rounds of each, at most.")
def main(model: str, threads: int, times: int, seconds: float) -> None:
    """Print the seconds of the VAE's encoder and of `Segmenter.segment`, and their ratio."""
    # Read when PyTorch is loaded. At batch 1 threads meet after every few milliseconds; where they
    # wait for each other by spinning on cores that others use as well, an image takes a hundred
    # times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    from iseg_cli.config import load_settings
    from iseg_cli.readers.decoding import load_image
    from iseg_cli.readers.registry import open_dataset
    from iseg_cli.segmentation.segmenter import Segmenter, fit_image

    torch.set_num_threads(threads)
    segmenter = Segmenter.from_pretrained(model, settings=load_settings("emoji-voc"))
    reader = open_dataset("emoji-voc")
    image = load_image(reader.sample(reader.image_ids[0]).image_path)
    side = segmenter.model.image_size
    shown = fit_image(image, side)
    pixels = torch.from_numpy(shown).permute(2, 0, 1)[None].float() / 127.5 - 1

    def encode() -> None:
        with torch.inference_mode():
            segmenter.model.vae.encode(pixels)

    def segment() -> None:
        segmenter.segment(image, categories=["dog", "car"])

    vae, vae_processor, _ = typical(encode, times=times, seconds=seconds)
    whole, whole_processor, rounds = typical(segment, times=times, seconds=seconds)
    load = os.getloadavg()[0]
    click.echo(
        f"{model}, an image of {side} px, {threads} threads, median of {rounds}, load {load:.1f}"
    )
    click.echo(f"wall clock: VAE encoder {vae:.4f} s, whole pipeline {whole:.4f} s")
    click.echo(
        f"ratio {whole / vae:.1f} by the wall clock, {whole_processor / vae_processor:.1f} by "
        "processor time"
    )


if __name__ == "__main__":
    main()
