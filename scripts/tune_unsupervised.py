"""Chooses the settings in configs/emoji-voc-unsupervised.yaml, on emoji-voc's split `train` alone.

First DiffSeg by itself: its timestep, with noise or without, and the threshold. Then, with the best
of these, the refinement: its timestep, the step of Ent-Self and the number of iterations. All are
tried on the first images of the split, the best few on all of it; the best mIoU with segments
matched image by image decides. Prints every score and the settings to write into the preset.
"""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from iseg_cli.attention.self_map_extractor import SelfMapExtractor
from iseg_cli.backbones.loading import DiffusionModel, load_model
from iseg_cli.config import Settings, load_settings, to_dict
from iseg_cli.evaluation.metrics.confusion import ConfusionMatrix
from iseg_cli.evaluation.metrics.matching import count_overlaps, match
from iseg_cli.readers.base import Reader
from iseg_cli.readers.decoding import load_image
from iseg_cli.readers.registry import open_dataset
from iseg_cli.segmentation.segmenter import fit_image
from iseg_cli.segmentation.segments import Segments, decide_segments, find_proposals

PRESET = "emoji-voc-unsupervised"
TIMESTEPS = (100, 200, 300, 500, 700)
THRESHOLDS = (0.15, 0.175, 0.2, 0.225, 0.25, 0.275)
STEP_SIZES = (0.0, 0.05, 0.1)
ITERATIONS = (2, 4, 8, 16)
TRIED = 24  # images that every candidate is tried on
KEPT = 4  # candidates that are tried on all
BATCH_SIZE = 4

Changes = dict[str, Any]


@torch.inference_mode()
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
        key: SelfMapExtractor(model, next(iter(group.values())), batch_size=BATCH_SIZE)
        for key, group in groups.items()
    }
    counts = {name: ConfusionMatrix(reader.label_set.num_classes) for name in variants}
    image_ids = reader.image_ids[:limit]
    for start in range(0, len(image_ids), BATCH_SIZE):
        batch = image_ids[start : start + BATCH_SIZE]
        truths = [reader.ground_truth(image_id).labels for image_id in batch]
        paths = [reader.sample(image_id).image_path for image_id in batch]
        images = np.stack([fit_image(load_image(path), model.image_size) for path in paths])
        for key, group in groups.items():
            maps = extractors[key].extract(images)
            sizes = [(truth.shape[0], truth.shape[1]) for truth in truths]
            proposals: dict[str, list[Tensor]] = {}
            for name, settings in group.items():
                rule = str(settings.diffseg)
                if rule not in proposals:
                    proposals[rule] = find_proposals(maps, settings)
                segments = decide_segments(proposals[rule], maps, sizes, settings)
                counts[name] += count_matched(segments, truths, counts[name].num_classes)
    return counts


def count_matched(
    found: list[Segments], truths: list[np.ndarray], num_classes: int
) -> ConfusionMatrix:
    """Count a batch's pixels, segments matched to classes image by image."""
    total = ConfusionMatrix(num_classes)
    for segments, truth in zip(found, truths, strict=True):
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
    for images in (TRIED if limit is None else min(TRIED, limit), limit):
        counts = score_settings(model, reader, variants, images)
        click.echo(f"on {images or 'all'} images: mIoU, pixel accuracy, settings")
        for name, confusion in counts.items():
            click.echo(f"{confusion.miou():.4f} {confusion.pixel_accuracy():.4f} {name}")
        order = sorted(counts, key=lambda name: counts[name].miou(), reverse=True)
        variants = {name: variants[name] for name in order[:KEPT]}
    return choices[order[0]]


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


if __name__ == "__main__":
    run()
