"""Chooses the settings in configs/emoji-voc.yaml, on emoji-voc's split `train` alone.

First the layers whose cross-attention is read, then their heads, dropped one by one while that
helps, then the timestep, the step of Ent-Self with the number of iterations, and gamma. Prints
every step and the settings to write into the preset.
"""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from iseg_cli.config import Settings, load_settings
from iseg_cli.diffusion.extractor import Extractor
from iseg_cli.diffusion.loading import DiffusionModel, load_model
from iseg_cli.evaluation.confusion import ConfusionMatrix
from iseg_cli.labels import from_masks
from iseg_cli.ops.aggregate import resize
from iseg_cli.ops.assign import assign, min_max
from iseg_cli.readers.base import Reader
from iseg_cli.readers.images import load_image
from iseg_cli.readers.registry import open_dataset
from iseg_cli.workflows.pipeline import fit_image
from iseg_cli.workflows.sweep import score_settings

LAYERS: dict[str, list[str]] = {
    "L, encoder": [f"down_blocks.0.attentions.{i}" for i in range(2)],
    "L, decoder": [f"up_blocks.3.attentions.{i}" for i in range(3)],
    "L/2": ["down_blocks.1.attentions.1", "up_blocks.2.attentions.0", "up_blocks.2.attentions.1"],
}
LAYERS["L"] = LAYERS["L, encoder"] + LAYERS["L, decoder"]
LEAST_GAIN = 0.001  # of mIoU, for which a head is dropped
TIMESTEPS = (50, 100, 150, 200, 300)
GAMMAS = (1.0, 1.15, 1.3, 1.6)
STEP_SIZES = (0.0, 0.05, 0.1, 0.2, 0.3)
ITERATIONS = (1, 2, 3, 4)
BATCH = 8

Changes = dict[str, Any]


def settings_with(changes: Mapping[str, Any]) -> Settings:
    """Return the method's defaults for the embedded model with some changes."""
    base: Changes = {
        "dataset": "emoji-voc",
        "model": "tiny",
        "cat_cross.gamma": 1.0,
        "refine.mode": "none",
    }
    return load_settings(overrides={**base, **changes})


class HeadMaps:
    """Each head's own category maps of every image of a split, with the truth."""

    def __init__(
        self, model: DiffusionModel, reader: Reader, layers: Changes, *, divisor: int, heads: int
    ) -> None:
        source = from_masks(reader.truth, reader.label_set)
        self.truths: list[np.ndarray] = []
        self.ids: list[list[int]] = []
        self.maps: list[list[Tensor]] = [[] for _ in range(heads)]
        extractors = [
            Extractor(
                model,
                settings_with({**layers, "capture.cross_heads": {divisor: [head]}}),
                batch_size=BATCH,
            )
            for head in range(heads)
        ]
        for start in range(0, len(reader), BATCH):
            names = reader.image_ids[start : start + BATCH]
            samples = [reader.sample(name) for name in names]
            categories = [source(sample) for sample in samples]
            images = [fit_image(load_image(s.image_path), model.image_size) for s in samples]
            self.truths += [reader.truth(name).labels for name in names]
            self.ids += [[category.id for category in own] for own in categories]
            for head, extractor in enumerate(extractors):
                attention = extractor.extract(np.stack(images), categories)
                for index, own in enumerate(categories):
                    self.maps[head].append(attention.cross[index, :, : len(own)])

    def miou(self, heads: Iterable[int]) -> float:
        """Return the mIoU of the raw maps of some heads, averaged."""
        chosen = list(heads)
        confusion = ConfusionMatrix(21)
        for index, (truth, ids) in enumerate(zip(self.truths, self.ids, strict=True)):
            mean = torch.stack([self.maps[head][index] for head in chosen]).mean(dim=0)
            height, width = truth.shape
            label = assign(min_max(resize(mean[None], height=height, width=width)))[0]
            confusion.update(np.array([0, *ids])[label.numpy()], truth)
        return confusion.miou()


def choose_heads(maps: HeadMaps, heads: int) -> list[int]:
    """Drop heads one by one, each time the one that helps least, while that is worth it."""
    chosen = list(range(heads))
    best = maps.miou(chosen)
    click.echo(f"{best:.4f} all {heads} heads")
    while len(chosen) > 1:
        left = {head: [other for other in chosen if other != head] for head in chosen}
        without = {head: maps.miou(others) for head, others in left.items()}
        head = max(without, key=lambda candidate: without[candidate])
        if without[head] < best + LEAST_GAIN:
            break
        chosen, best = left[head], without[head]
        click.echo(f"{best:.4f} heads {chosen}")
    return chosen


def best_of(model: DiffusionModel, reader: Reader, candidates: list[Changes]) -> Changes:
    """Return the changes with the greatest mIoU; print all."""
    variants = {str(changes): settings_with(changes) for changes in candidates}
    counts = score_settings(model, reader, variants, batch_size=BATCH)
    for name, confusion in counts.items():
        click.echo(f"{confusion.miou():.4f} {name}")
    return max(candidates, key=lambda changes: counts[str(changes)].miou())


def _divisor(layer: str) -> int:
    """Return what L is divided by at a layer: the blocks halve the grid on the way down."""
    kind, block, *_ = layer.split(".")
    depth = int(block) if kind == "down_blocks" else 3 - int(block)
    return 1 << depth


@click.command()
@click.option("--model", "name", default="tiny", show_default=True)
def run(name: str) -> None:
    """Tune the preset emoji-voc on the split train."""
    model = load_model(name)
    reader = open_dataset("emoji-voc", split="train")
    layers = best_of(
        model,
        reader,
        [
            {"capture.cross_layers": names, "capture.cross_weights": {_divisor(names[0]): 1.0}}
            for names in LAYERS.values()
        ],
    )
    divisor = _divisor(layers["capture.cross_layers"][0])
    heads = sum(
        model.unet.get_submodule(f"{layer}.transformer_blocks.0.attn2").heads
        for layer in layers["capture.cross_layers"]
    )
    maps = HeadMaps(model, reader, layers, divisor=divisor, heads=heads)
    chosen = choose_heads(maps, heads)
    best = layers if len(chosen) == heads else {**layers, "capture.cross_heads": {divisor: chosen}}
    best = best_of(model, reader, [{**best, "capture.timestep": t} for t in TIMESTEPS])
    best["refine.mode"] = "iterative"
    steps = [
        {**best, "ent_self.step_size": step, "refine.iterations": count}
        for step, count in product(STEP_SIZES, ITERATIONS)
    ]
    best = best_of(model, reader, steps)
    best = best_of(model, reader, [{**best, "cat_cross.gamma": gamma} for gamma in GAMMAS])
    click.echo(f"best: {best}")


if __name__ == "__main__":
    run()
