"""`iseg tag`: the classes in each image, found by CLIP."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Bool
from tqdm import tqdm

from iseg_cli import image_labels as labels
from iseg_cli.clip.tagging import DECIMALS, Shown, Tagger
from iseg_cli.config import Settings, to_dict
from iseg_cli.evaluation.metrics.tags import TagReport
from iseg_cli.execution.batch_size import choose_clip_batch_size
from iseg_cli.execution.clip import describe_clip, open_tagger
from iseg_cli.execution.device import whole_image_threads
from iseg_cli.execution.image_faults import IMAGE_FAULTS, reason_of
from iseg_cli.execution.iteration import batches, map_ahead
from iseg_cli.execution.run_setup import open_reader
from iseg_cli.readers.base import Reader
from iseg_cli.readers.images import load_image
from iseg_cli.readers.registry import dataset_info
from iseg_cli.storage.tags import TagFile
from iseg_cli.types import Category

VERSIONS = ("iseg-cli", "torch", "transformers", "numpy", "pillow")
"""The distributions whose versions stand beside the scores."""

CHOOSING = ("threshold", "min_score")
"""The settings of CLIP that choose labels from scores."""


@dataclass(frozen=True, eq=False)
class Tagging:
    """What a run did.

    Attributes:
        out: the file of labels.
        asked: how many images were asked for.
        labelled: how many of these have labels in the file now.
        resumed: how many of these an earlier run had finished.
        failed: image id -> what is wrong with it.
        notes: what the user should know about the dataset and its labels, a sentence each.
        report: how right the labels are; None where no truth is known.
    """

    out: Path
    asked: int
    labelled: int
    resumed: int
    failed: dict[str, str]
    notes: tuple[str, ...]
    report: TagReport | None


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A decoded image on its way to CLIP, or what is wrong with it."""

    image_id: str
    shown: Shown | None
    reason: str = ""


def tag(
    settings: Settings,
    *,
    out: Path,
    ground_truth: str | None = None,
    limit: int | None = None,
    overwrite: bool = False,
) -> Tagging:
    """Write the classes in each image of a dataset's split; run again, it resumes.

    An image that cannot be read is passed over, and tried again the next time.

    Args:
        settings: the dataset, CLIP and how to use the machine.
        out: the file of labels, ending in `.json`.
        ground_truth: what to compare with, as `--labels` takes it; None for masks where there are
            some.
        limit: only so many images, the first of the split.
        overwrite: replace what is there.

    Raises:
        IsegError: a dataset, model, setting or file that cannot be used.
    """
    reader = open_reader(settings)
    expected = _ground_truth(ground_truth, reader)
    image_ids = reader.image_ids[:limit]
    batch_size = choose_clip_batch_size(settings)
    tagger = open_tagger(settings, reader.label_set, batch_size=batch_size)
    if tagger.clip.device.type == "cpu":
        torch.set_num_threads(whole_image_threads(batch_size, torch.get_num_threads()))
    about = {"chosen_by": _chosen_by(settings), "versions": {v: version(v) for v in VERSIONS}}
    scored_by = _scored_by(settings, reader, tagger)
    with TagFile.start(out, scored_by, about=about, overwrite=overwrite) as file:
        todo = [image_id for image_id in image_ids if image_id not in file.scores]
        failed = _run(reader, tagger, file, todo, settings.runtime.workers)
        done = [image_id for image_id in image_ids if image_id in file.scores]
        shape = (len(done), len(tagger.categories))
        scores = np.array([file.scores[i] for i in done], dtype=np.float32).reshape(shape)
        found = tagger.choose(scores)
        names = [[category.name for category in categories] for categories in found]
        file.finish(dict(zip(done, names, strict=True)))
    report, wrong = None, dict[str, str]()
    if expected is not None and done:
        there, wrong = _expected(expected, reader, done, settings.runtime.workers)
        kept = [row for row, image_id in enumerate(done) if image_id in there]
    if expected is not None and done and kept:
        report = TagReport(
            tuple(category.name for category in tagger.categories),
            _table(tagger.categories, list(there.values())),
            _table(tagger.categories, [found[row] for row in kept]),
            scores[kept],
            {
                "dataset": reader.name,
                "split": reader.split,
                "images": len(kept),
                "truth": expected.name,
                "label_set": reader.label_set.name,
                "model": describe_clip(tagger.clip),
                "refine": settings.clip.refine,
                "reidentify": settings.clip.reidentify,
                **_chosen_by(settings),
            },
        )
    return Tagging(
        out,
        asked=len(image_ids) + len(reader.refused),
        labelled=len(done),
        resumed=len(image_ids) - len(todo),
        failed=failed | wrong | reader.refused,
        notes=(*reader.notes, *(() if expected is None else expected.notes)),
        report=report,
    )


def default_file(settings: Settings) -> Path:
    """Return where labels go if the user does not say: labels/<dataset>-<split>.json."""
    split = settings.split or dataset_info(settings.dataset).default_split
    return Path("labels", f"{settings.dataset}-{split}.json")


def _ground_truth(spec: str | None, reader: Reader) -> labels.LabelSource | None:
    """Return where the true labels come from; None where nothing says them."""
    if spec is None and not reader.has_ground_truth:
        return None
    return labels.choose(
        spec or "masks",
        label_set=reader.label_set,
        images=reader,
        ground_truth=reader.ground_truth if reader.has_ground_truth else None,
        annotated=reader.annotated,
        annotation_notes=reader.annotation_notes,
    )


def _expected(
    ground_truth: labels.LabelSource, reader: Reader, image_ids: Sequence[str], workers: int
) -> tuple[dict[str, tuple[Category, ...]], dict[str, str]]:
    """Return the true labels of images, in their order, and why those of others are unknown."""
    wrong: dict[str, str] = {}

    def look_up(image_id: str) -> tuple[Category, ...] | None:
        try:
            return ground_truth(reader.sample(image_id))
        except IMAGE_FAULTS as error:
            wrong[image_id] = f"its labels cannot be scored: {reason_of(error)}"
            return None

    with ThreadPoolExecutor(workers) as pool:
        found = zip(image_ids, pool.map(look_up, image_ids), strict=True)
        there = {image_id: labels_of for image_id, labels_of in found if labels_of is not None}
    return there, {image_id: wrong[image_id] for image_id in image_ids if image_id in wrong}


def _run(
    reader: Reader, tagger: Tagger, file: TagFile, todo: Sequence[str], workers: int
) -> dict[str, str]:
    """Score the images, decoding in threads; return what is wrong with those that failed."""
    failed: dict[str, str] = {}

    def prepare(image_id: str) -> _Prepared:
        try:
            image = load_image(reader.sample(image_id).image_path)
            return _Prepared(image_id, tagger.fit(image))
        except IMAGE_FAULTS as error:
            return _Prepared(image_id, None, reason_of(error))

    # disable=None: no bar where standard error is no terminal
    bar: tqdm[NoReturn] = tqdm(total=len(todo), unit="image", disable=None)
    with bar, ThreadPoolExecutor(workers, "decode") as pool:
        ahead = workers + 2 * tagger.batch_size
        for batch in batches(map_ahead(pool, prepare, todo, ahead), tagger.batch_size):
            images = {item.image_id: item.shown for item in batch if item.shown is not None}
            failed |= {item.image_id: item.reason for item in batch if item.shown is None}
            rows = tagger.score(list(images.values())).tolist()
            scores = [[round(value, DECIMALS) for value in row] for row in rows]
            file.add(dict(zip(images, scores, strict=True)))
            bar.update(len(batch))
    return failed


def _scored_by(settings: Settings, reader: Reader, tagger: Tagger) -> dict[str, Any]:
    """Return what scores depend on; other thresholds choose other labels from the same scores."""
    clip = to_dict(settings)["clip"].items()
    return {
        "dataset": reader.name,
        "split": reader.split,
        "classes": {category.name: category.prompt for category in tagger.categories},
        "model": describe_clip(tagger.clip),
        "dtype": str(tagger.clip.dtype).removeprefix("torch."),
        "batch_size": tagger.batch_size,
        **{
            f"clip.{name}": value
            for name, value in clip
            if name not in ("model", "dtype", *CHOOSING)
        },
        "clip.background_prompts": list(tagger.background),
    }


def _chosen_by(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings.clip, name) for name in CHOOSING}


def _table(
    categories: Sequence[Category], of_images: Sequence[Sequence[Category]]
) -> Bool[np.ndarray, "images categories"]:
    """Return which of the categories each image has."""
    rows = [[category in own for category in categories] for own in of_images]
    return np.array(rows, dtype=bool).reshape(len(of_images), len(categories))
