"""Chooses the settings in configs/emoji-voc-unsupervised.yaml, on emoji-voc's split `train` alone.

First DiffSeg by itself: its timestep, with noise or without, and the threshold. Then, with the best
of these, the refinement: its timestep, the step of Ent-Self and the number of iterations. The best
mIoU with segments matched image by image decides. Prints every score and the settings to write into
the preset; at the end what they give on `val`, which chooses nothing, plain and refined.
"""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import click
import numpy as np

from iseg_cli.config import Settings, load_settings, to_dict
from iseg_cli.diffusion.loading import DiffusionModel, load_model
from iseg_cli.diffusion.self_maps import SelfExtractor
from iseg_cli.evaluation.confusion import ConfusionMatrix
from iseg_cli.evaluation.matching import count_overlaps, match
from iseg_cli.maps import SelfMaps
from iseg_cli.readers.base import Reader
from iseg_cli.readers.images import load_image
from iseg_cli.readers.registry import open_dataset
from iseg_cli.segments import find_segments
from iseg_cli.workflows.pipeline import fit_image

PRESET = "emoji-voc-unsupervised"
TIMESTEPS = (50, 100, 200, 300, 500)
THRESHOLDS = (0.1, 0.15, 0.175, 0.2, 0.225, 0.25, 0.3, 0.4)
STEP_SIZES = (0.0, 0.02, 0.05, 0.1, 0.2)
ITERATIONS = (1, 2, 4, 6, 8)
BATCH_SIZE = 4

Changes = dict[str, Any]


def score_settings(
    model: DiffusionModel, reader: Reader, variants: Mapping[str, Settings], limit: int | None
) -> dict[str, ConfusionMatrix]:
    """Segment a split under every variant; those that read the same attention share it."""
    groups: dict[str, dict[str, Settings]] = {}
    for name, settings in variants.items():
        values = to_dict(settings)
        read = (settings.diffseg.timestep, settings.diffseg.noise, values["capture"])
        groups.setdefault(f"{read} {settings.refine.mode == 'none'}", {})[name] = settings
    extractors = {
        key: SelfExtractor(model, next(iter(group.values())), batch_size=BATCH_SIZE)
        for key, group in groups.items()
    }
    counts = {name: ConfusionMatrix(reader.label_set.num_classes) for name in variants}
    image_ids = reader.image_ids[:limit]
    for start in range(0, len(image_ids), BATCH_SIZE):
        batch = image_ids[start : start + BATCH_SIZE]
        truths = [reader.truth(image_id).labels for image_id in batch]
        paths = [reader.sample(image_id).image_path for image_id in batch]
        images = np.stack([fit_image(load_image(path), model.image_size) for path in paths])
        for key, group in groups.items():
            maps = extractors[key].extract(images)
            for name, settings in group.items():
                counts[name] += count_matched(maps, truths, settings, counts[name].num_classes)
    return counts


def count_matched(
    maps: SelfMaps, truths: list[np.ndarray], settings: Settings, num_classes: int
) -> ConfusionMatrix:
    """Count a batch's pixels, segments matched to classes image by image."""
    total = ConfusionMatrix(num_classes)
    sizes = [(truth.shape[0], truth.shape[1]) for truth in truths]
    for segments, truth in zip(find_segments(maps, sizes, settings), truths, strict=True):
        labels = segments.labels.cpu().numpy()
        total += match(count_overlaps(labels, truth, num_classes=num_classes))
    return total


def best_of(
    model: DiffusionModel,
    reader: Reader,
    before: Changes,
    candidates: Iterable[Changes],
    limit: int | None,
) -> Changes:
    """Return `before` with the candidate that has the greatest mIoU; print them all."""
    choices = {str(changes): {**before, **changes} for changes in candidates}
    variants = {name: load_settings(PRESET, overrides=c) for name, c in choices.items()}
    counts = score_settings(model, reader, variants, limit)
    for name, confusion in counts.items():
        click.echo(f"{confusion.miou():.4f} {confusion.pixel_accuracy():.4f} {name}")
    return choices[max(counts, key=lambda name: counts[name].miou())]


@click.command()
@click.option("--model", "name", default="tiny", show_default=True)
@click.option("--limit", type=int, help="Only the first so many images of each split.")
def run(name: str, limit: int | None) -> None:
    """Tune the preset emoji-voc-unsupervised on the split train."""
    model = load_model(name)
    reader = open_dataset("emoji-voc", split="train")
    plain = best_of(
        model,
        reader,
        {"refine.mode": "none"},
        [
            {"diffseg.timestep": t, "diffseg.noise": noise, "diffseg.threshold": threshold}
            for t, noise, threshold in product(TIMESTEPS, (True, False), THRESHOLDS)
        ],
        limit,
    )
    refined = best_of(
        model,
        reader,
        {**plain, "refine.mode": "iterative"},
        [
            {"capture.timestep": t, "ent_self.step_size": step, "refine.iterations": count}
            for t, step, count in product(TIMESTEPS, STEP_SIZES, ITERATIONS)
        ],
        limit,
    )
    click.echo(f"best: {refined}")
    val = {
        "plain": load_settings(PRESET, overrides=plain),
        "refined": load_settings(PRESET, overrides=refined),
    }
    held_out = open_dataset("emoji-voc", split="val")
    for kind, confusion in score_settings(model, held_out, val, limit).items():
        miou, accuracy = confusion.miou(), confusion.pixel_accuracy()
        click.echo(f"val, {kind}: mIoU {miou:.4f}, pixel accuracy {accuracy:.4f}")


if __name__ == "__main__":
    run()
