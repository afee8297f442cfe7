"""Chooses the settings in configs/emoji-voc.yaml, on emoji-voc's split `train` alone.

First the layers whose cross-attention is read, then the timestep with the step of Ent-Self and the
number of iterations, then the heads of self-attention, gamma and the background's threshold: each
with the best of those before. Prints every score and, at the end, the settings to write into the
preset.
"""

from collections.abc import Iterable
from itertools import product
from typing import Any

import click

from iseg_cli.backbones.loading import DiffusionModel, load_model
from iseg_cli.config import load_settings
from iseg_cli.readers.base import Reader
from iseg_cli.readers.registry import open_dataset
from iseg_cli.sweep import score_settings

ENCODER = [f"down_blocks.0.attentions.{i}" for i in (0, 1)]
DECODER = [f"up_blocks.3.attentions.{i}" for i in (0, 1, 2)]
HALF = ["down_blocks.1.attentions.1", "up_blocks.2.attentions.0", "up_blocks.2.attentions.1"]
LAYERS = ((ENCODER, 1), (DECODER, 1), (ENCODER + DECODER, 1), (HALF, 2))  # at L, and at L/2
TIMESTEPS = (50, 100, 200, 300)
STEP_SIZES = (0.02, 0.05, 0.1, 0.2)
ITERATIONS = (1, 2, 4, 6, 8, 12, 16)
SELF_HEADS = (None, [0], [1])
GAMMAS = (1.0, 1.15, 1.3, 1.6)
THRESHOLDS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5)

Changes = dict[str, Any]
START: Changes = {
    "dataset": "emoji-voc",
    "model": "tiny",
    "refine.mode": "none",
    "cat_cross.gamma": 1.0,
}


def best_of(
    model: DiffusionModel, reader: Reader, before: Changes, candidates: Iterable[Changes]
) -> Changes:
    """Return `before` with the candidate that has the greatest mIoU; print them all.

    Of equals the first counts.
    """
    choices = {str(changes): {**before, **changes} for changes in candidates}
    variants = {name: load_settings(overrides=changes) for name, changes in choices.items()}
    counts = score_settings(model, reader, variants)
    for name, confusion in counts.items():
        click.echo(f"{confusion.miou():.4f} {name}")
    return choices[max(counts, key=lambda name: counts[name].miou())]


@click.command()
@click.option("--model", "name", default="tiny", show_default=True)
def run(name: str) -> None:
    """Tune the preset emoji-voc on the split train."""
    model = load_model(name)
    reader = open_dataset("emoji-voc", split="train")
    grid = [
        {
            "capture.timestep": timestep,
            "ent_self.step_size": step,
            "refine.iterations": count,
            "refine.mode": "iterative",
        }
        for timestep, step, count in product(TIMESTEPS, STEP_SIZES, ITERATIONS)
    ]
    rounds: list[list[Changes]] = [
        [{"capture.cross_layers": n, "capture.cross_weights": {d: 1.0}} for n, d in LAYERS],
        grid,
        [{"capture.self_heads": heads} for heads in SELF_HEADS],
        [{"cat_cross.gamma": gamma} for gamma in GAMMAS],
        [
            {"assign.background": "power"},
            *({"assign.background": "threshold", "assign.threshold": t} for t in THRESHOLDS),
        ],
    ]
    best = START
    for candidates in rounds:
        best = best_of(model, reader, best, candidates)
    click.echo(f"best: {best}")


if __name__ == "__main__":
    run()
