"""Chooses CLIP's settings for emoji-voc, on its split `train` alone (configs/, open vocabulary).

What scores depend on is chosen by their mAP, step by step, each with the best of those before; then
the thresholds by the F1 of all labels. Prints every figure and, at the end, the settings.
"""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import click
import numpy as np
import torch
from jaxtyping import Bool, Float32

from iseg_cli.clip.loading import ClipModel, load_clip
from iseg_cli.clip.tagger import Tagger
from iseg_cli.config.schema import ClipSettings
from iseg_cli.evaluation.metrics.tags import TagReport
from iseg_cli.image_labels import MaskLabeler
from iseg_cli.readers.base import Reader
from iseg_cli.readers.decoding import load_image
from iseg_cli.readers.registry import open_dataset

Changes = dict[str, Any]
Scores = Float32[np.ndarray, "images classes"]

PROMPT = ("a photograph of {}",)
PLAIN = ("background", "wall", "sky", "ground", "pattern")
SCALES = ((1.0,), (1.5,), (1.0, 1.5), (1.0, 1.25, 1.5), (1.0, 1.25, 1.75), (1.0, 1.25, 1.5, 1.75))
WEIGHTS = ((0.5, 0.5), (0.3, 0.7), (0.7, 0.3), (0.8, 0.2), (0.4, 0.8), (0.0, 1.0))
START: Changes = {"model": "tiny-clip", "templates": PROMPT, "candidate_threshold": 0.1}
ROUNDS: list[list[Changes]] = [
    [
        {"last_block": kept, "refine": refine, "reidentify": look}
        for kept, refine, look in product(("whole", "values"), (False, True), (False, True))
    ],
    [{"scales": scales} for scales in SCALES],
    [{"background_prompts": words} for words in (None, PLAIN, ("background",), ())],
    [{"min_agreeing_blocks": votes} for votes in (None, 0, 2, 3, 4)],
    [{"candidate_threshold": share} for share in (0.1, 0.2, 0.3, 0.5)],
    [{"patch_weight": patch, "crop_weight": crop} for patch, crop in WEIGHTS],
    [{"templates": sentences} for sentences in (PROMPT, (*PROMPT, "a photo of a {}.", "{}"), None)],
]
THRESHOLDS = np.arange(0.05, 0.95, 0.05).round(2).tolist()
LEAST = (0.0, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4)


class Trial:
    """Scores settings on one split with one CLIP."""

    def __init__(self, clip: ClipModel, reader: Reader, limit: int | None) -> None:
        self.clip, self.reader = clip, reader
        samples = [reader.sample(image_id) for image_id in reader.image_ids[:limit]]
        self.images = [load_image(sample.image_path) for sample in samples]
        labeler = MaskLabeler(reader.ground_truth, reader.label_set)
        self.ground_truth = np.array(
            [
                [c in own for c in reader.label_set.categories]
                for own in map(labeler.labels, samples)
            ]
        )

    def scores(self, changes: Mapping[str, Any]) -> Scores:
        """Return the scores of every class in every image."""
        tagger = self._tagger(changes)
        return np.concatenate([tagger.score([tagger.fit(image)]) for image in self.images])

    def figures(self, changes: Mapping[str, Any], scores: Scores) -> dict[str, Any]:
        """Return precision, recall, F1 and mAP of the labels that the settings choose."""
        categories = self.reader.label_set.categories
        found = self._tagger(changes).choose(scores)
        labels: Bool[np.ndarray, "images classes"]
        labels = np.array([[c in own for c in categories] for own in found])
        names = tuple(category.name for category in categories)
        return TagReport(names, self.ground_truth, labels, scores, {}).to_json_dict()

    def _tagger(self, changes: Mapping[str, Any]) -> Tagger:
        return Tagger(self.clip, ClipSettings(**changes), self.reader.label_set)


def best_scores(trial: Trial, before: Changes, candidates: Iterable[Changes]) -> Changes:
    """Return `before` with the candidate whose scores have the greatest mAP; print them all."""
    reached: list[tuple[float, Changes]] = []
    for changes in candidates:
        chosen = {**before, **changes}
        values = trial.figures(chosen, trial.scores(chosen))
        click.echo(f"mAP {values['map']:.4f} F1 {values['micro']['f1']:.4f} {changes}")
        reached.append((values["map"], chosen))
    return max(reached, key=lambda pair: pair[0])[1]


def best_thresholds(trial: Trial, before: Changes) -> Changes:
    """Return `before` with the thresholds whose labels have the greatest F1."""
    scores = trial.scores(before)
    reached: list[tuple[float, Changes]] = []
    for threshold, least in product(THRESHOLDS, LEAST):
        chosen = {**before, "threshold": threshold, "min_score": least}
        micro = trial.figures(chosen, scores)["micro"]
        click.echo(f"F1 {micro['f1'] or 0:.4f} threshold {threshold} min_score {least} {micro}")
        reached.append((micro["f1"] or 0, chosen))
    return max(reached, key=lambda pair: pair[0])[1]


@click.command()
@click.option("--clip", "name", default="tiny-clip", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N images.")
def run(name: str, limit: int | None) -> None:
    """Tune CLIP's settings on emoji-voc train."""
    clip = load_clip(name, device=torch.device("cpu"), dtype=torch.float32)
    trial = Trial(clip, open_dataset("emoji-voc", split="train"), limit)
    best = START
    for candidates in ROUNDS:
        best = best_scores(trial, best, candidates)
    click.echo(f"best: {best_thresholds(trial, best)}")


if __name__ == "__main__":
    run()
