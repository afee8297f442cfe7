"""Make the embedded models from nothing but npm packages: every stage in order, none twice.

Example: python scripts/train_tiny.py --work build/tiny
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
from tiny.clip_export import export_clip
from tiny.clip_fit import ClipPlan, train_clip
from tiny.dataset import make_dataset
from tiny.export import Weights, export_model
from tiny.fit import Plan, train_unet
from tiny.store import make_store
from tiny.text import make_tokenizer
from tiny.vae import keep_vae, train_vae

P = TypeVar("P", Plan, ClipPlan)
STAGES = ("scenes", "clip", "vae", "unet", "export")
"""The scenes are always there before anything else."""


@click.command(help=__doc__)
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("build/tiny"),
    show_default=True,
    help="Folder for sprites, scenes, checkpoints and the learning curve.",
)
@click.option(
    "--target",
    type=click.Path(path_type=Path),
    default=Path("iseg_cli/models/tiny"),
    show_default=True,
    help="Folder the finished model is written to; the CLIP goes beside it, into tiny-clip.",
)
@click.option(
    "--dataset",
    type=click.Path(path_type=Path),
    help="Draw the dataset emoji-voc anew into this folder.",
)
@click.option("--seed", default=7, show_default=True, help="Seed of scenes and weights.")
@click.option("--threads", default=2, show_default=True, help="Threads of the training.")
@click.option("--scenes", default=48000, show_default=True, help="Scenes of 64 px.")
@click.option("--near-scenes", type=int, help="Crops of 64 px.  [default: as many as --scenes]")
@click.option("--large-scenes", default=10000, show_default=True, help="Scenes of 128 px.")
@click.option("--vae-steps", default=3500, show_default=True, help="Steps of the VAE.")
@click.option("--small-steps", type=int, help="Steps of the UNet at 64 px.")
@click.option("--large-steps", type=int, help="Steps of the UNet at 128 px.")
@click.option(
    "--start",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A model folder to go on from: its dead VAE channels are revived, its UNet adapts.",
)
@click.option(
    "--keep-vae",
    "is_vae_kept",
    is_flag=True,
    help="With --start: leave its VAE as it is, so that its UNet meets the latents it knows.",
)
@click.option(
    "--clip-start",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A CLIP folder to go on from.",
)
@click.option("--clip-near-steps", type=int, help="Steps of the CLIP on windows of 64 px.")
@click.option("--clip-whole-steps", type=int, help="Steps of the CLIP on images of 128 px.")
@click.option("--clip-peak", type=float, help="Highest learning rate of the CLIP.")
@click.option("--peak", type=float, help="Highest learning rate of the UNet.")
@click.option("--last", type=float, help="Learning rate of the UNet's last step.")
@click.option(
    "--weights",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Which of the UNet's averaged weights are exported: those that scored best, or the last.",
)
@click.option(
    "--stage",
    "stages",
    multiple=True,
    type=click.Choice(STAGES),
    default=STAGES,
    help="Only this stage, or these.  [default: all]",
)
def main(
    work: Path,
    target: Path,
    dataset: Path | None,
    seed: int,
    threads: int,
    scenes: int,
    near_scenes: int | None,
    large_scenes: int,
    vae_steps: int,
    small_steps: int | None,
    large_steps: int | None,
    start: Path | None,
    is_vae_kept: bool,
    clip_start: Path | None,
    clip_near_steps: int | None,
    clip_whole_steps: int | None,
    clip_peak: float | None,
    peak: float | None,
    last: float | None,
    weights: Weights,
    stages: tuple[str, ...],
) -> None:
    """Run the stages; each resumes, or is skipped where it is finished."""
    if is_vae_kept and start is None:
        raise click.UsageError("--keep-vae needs the model that has the VAE: give --start too")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)
    plan = _changed(Plan(), small_steps=small_steps, large_steps=large_steps, peak=peak, last=last)
    clip_plan = _changed(
        ClipPlan(), near_steps=clip_near_steps, whole_steps=clip_whole_steps, peak=clip_peak
    )
    if dataset is not None:
        make_dataset(work, dataset, seed=seed)
    make_store(work, "choice", seed=seed, side=64, count=200)
    make_store(work, "choice128", seed=seed, side=128, count=200)
    make_store(work, "fit64", seed=seed, side=64, count=scenes)
    make_store(
        work, "near64", seed=seed, side=64, count=scenes if near_scenes is None else near_scenes
    )
    make_store(work, "fit128", seed=seed, side=128, count=large_scenes)
    make_tokenizer(work, start=start)
    if "clip" in stages:
        train_clip(work, seed=seed, plan=clip_plan, start=clip_start)
    if "vae" in stages:
        if start is not None and is_vae_kept:
            keep_vae(work, start)
        train_vae(work, seed=seed, steps=vae_steps, start=start)
    if "unet" in stages:
        train_unet(work, seed=seed, plan=plan, start=start)
    if "export" in stages:
        _export(work, target, weights)


def _export(work: Path, target: Path, weights: Weights) -> None:
    """Write what was trained: the diffusion model, the CLIP, or both."""
    has_unet, has_clip = ((work / f"{name}-checkpoint").exists() for name in ("unet", "clip"))
    if not (has_unet or has_clip):
        raise click.UsageError(f"nothing was trained in {work} yet: add --stage unet or clip")
    if has_unet:
        export_model(work, target, weights=weights)
    if has_clip:
        export_clip(work, target.with_name("tiny-clip"))


def _changed(plan: P, **values: float | None) -> P:
    """Return a plan with what was given."""
    given: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    return replace(plan, **given)


if __name__ == "__main__":
    main()
