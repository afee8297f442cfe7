"""What several steps of refinement gain, and why: the frozen kernel's sharpness and its heads.

For every sharpness and choice of heads, on emoji-voc's split `train`: how spread the rows of the
self-attention are, how much of a row stays on its object, how much of the object it reaches, and
the mIoU of raw attention, one product, naive iteration and Ent-Self. Truth is used to measure only.

Example: python scripts/refinement_study.py --limit 100
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import click
import cv2
import numpy as np
import torch
from tiny.unet import set_sharpness
from torch import Tensor

from iseg_cli.attention.map_extractor import MapExtractor
from iseg_cli.backbones.loading import DiffusionModel, load_model
from iseg_cli.config import Settings, load_settings
from iseg_cli.readers.base import Reader
from iseg_cli.readers.decoding import load_image
from iseg_cli.readers.registry import open_dataset
from iseg_cli.segmentation.segmenter import fit_image
from iseg_cli.sweep import score_settings

SHARPNESS = (6.0, 12.0, 18.0, 24.0, 36.0, 48.0)
HEADS: tuple[tuple[int, ...] | None, ...] = (None, (0,), (1,))
STEPS = (0.05, 0.1, 0.2, 0.35)
ITERATIONS = (4, 6, 10, 16)


@dataclass
class Rows:
    """What the rows of objects' positions look like, collected over images.

    Attributes:
        entropy: of a row, in nats.
        inside: share of a row that lies on its own object.
        reach: positions of its object that a row covers (the exponential of the entropy of the row
            within the object), as a share of the object.
    """

    entropy: list[Tensor] = field(default_factory=list)
    inside: list[Tensor] = field(default_factory=list)
    reach: list[Tensor] = field(default_factory=list)

    def add(self, attention: Tensor, labels: Tensor) -> None:
        """Take the rows of one image: attention [positions, positions], labels [positions]."""
        for label in labels.unique().tolist():
            own = labels == label
            if not label or own.sum() < 4:
                continue
            rows = attention[own].double()
            within = rows[:, own]
            share = within.sum(dim=1, keepdim=True)
            self.entropy.append(_entropy(rows))
            self.inside.append(share[:, 0])
            self.reach.append(_entropy(within / share).exp() / own.sum())

    def means(self) -> tuple[float, float, float]:
        """Mean entropy, share inside and reach over all rows of objects."""
        entropy, inside, reach = (
            torch.cat(values).mean().item() for values in (self.entropy, self.inside, self.reach)
        )
        return entropy, inside, reach


def _entropy(rows: Tensor) -> Tensor:
    entropy: Tensor = -torch.special.xlogy(rows, rows).sum(dim=1)
    return entropy


@torch.inference_mode()
def measure_rows(
    model: DiffusionModel, reader: Reader, settings: Settings, limit: int
) -> tuple[float, float, float]:
    """Look at the self-attention of the first `limit` images of a split."""
    extractor = MapExtractor(model, settings)
    rows = Rows()
    for image_id in reader.image_ids[:limit]:
        image = load_image(reader.sample(image_id).image_path)
        truth = reader.ground_truth(image_id).labels
        attention = extractor.extract(
            fit_image(image, model.image_size)[None],
            [reader.label_set.select(np.unique(truth).tolist())],
        )
        side = attention.side
        small = cv2.resize(truth, (side, side), interpolation=cv2.INTER_NEAREST)
        rows.add(attention.self_attention[0], torch.from_numpy(small.reshape(-1).astype(np.int64)))
    return rows.means()


def variants(heads: Sequence[int] | None) -> dict[str, Settings]:
    """Raw, one product, naive iteration and Ent-Self with several steps and lengths."""

    def settings(mode: str, iterations: int = 1, step: float | None = None) -> Settings:
        changes = {
            "refine.mode": mode,
            "refine.iterations": iterations,
            "ent_self.step_size": step,
            "capture.self_heads": heads,
        }
        return load_settings("emoji-voc", overrides=changes)

    found = {"raw": settings("none"), "single": settings("single")}
    found |= {f"naive {n}": settings("naive", n) for n in (ITERATIONS[0], ITERATIONS[-1])}
    for step, n in product(STEPS, ITERATIONS):
        found[f"ent {step:g} {n}"] = settings("iterative", n, step)
    return found


def line(sharpness: float, heads: Sequence[int] | None, miou: Mapping[str, float]) -> str:
    """The scores of one kernel as a row of a Markdown table."""
    best = max((name for name in miou if name.startswith("ent")), key=lambda name: miou[name])
    _, step, count = best.split()
    scores = [miou["raw"], miou["single"]]
    scores += [miou[f"naive {n}"] for n in (ITERATIONS[0], ITERATIONS[-1])]
    cells = [f"{100 * score:.1f}" for score in scores]
    cells.append(f"{100 * miou[best]:.1f} (lambda {step}, N = {count})")
    cells.append(f"{100 * miou[f'ent {step} {ITERATIONS[-1]}']:.1f}")
    chosen = "all" if heads is None else ", ".join(map(str, heads))
    return f"| {sharpness:g} | {chosen} | {' | '.join(cells)} |"


@click.command(help=__doc__)
@click.option("--model", "name", default="tiny", show_default=True)
@click.option("--limit", default=200, show_default=True, help="Images of the split.")
@click.option("--sharpness", "kernels", multiple=True, type=float, default=SHARPNESS)
def main(name: str, limit: int, kernels: tuple[float, ...]) -> None:
    """Print a table of rows and a table of scores."""
    model = load_model(name)
    reader = open_dataset("emoji-voc", split="train")
    click.echo("| c^2 | heads | entropy (nats) | inside | reach |\n|---|---|---|---|---|")
    scores = []
    for sharpness, heads in product(kernels, HEADS):
        set_sharpness(model.unet, sharpness)
        settings = variants(heads)
        entropy, inside, reach = measure_rows(model, reader, settings["raw"], min(limit, 40))
        chosen = "all" if heads is None else heads[0]
        click.echo(f"| {sharpness:g} | {chosen} | {entropy:.2f} | {inside:.2f} | {reach:.2f} |")
        counts = score_settings(model, reader, settings, limit=limit)
        miou = {name: float(confusion.miou()) for name, confusion in counts.items()}
        scores.append(line(sharpness, heads, miou))
    first, last = ITERATIONS[0], ITERATIONS[-1]
    click.echo(
        f"\n| c^2 | heads | raw | single | naive {first} | naive {last} | best Ent-Self "
        f"| its lambda, N = {last} |\n|" + "---|" * 8
    )
    click.echo("\n".join(scores))


if __name__ == "__main__":
    main()
