"""`iseg tag`: a resumable run that writes the image-level labels that CLIP finds."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Bool
from tqdm import tqdm

from iseg_cli.clip.tagger import DECIMALS, Shown, Tagger
from iseg_cli.config import Settings, to_dict
from iseg_cli.evaluation.metrics.tags import TagReport
from iseg_cli.evaluation.protocol import dataset_protocol
from iseg_cli.execution.batch_size import choose_clip_batch_size
from iseg_cli.execution.clip import describe_clip, open_tagger
from iseg_cli.execution.device import whole_image_threads
from iseg_cli.execution.image_faults import IMAGE_FAULTS, reason_of
from iseg_cli.execution.run_setup import open_reader
from iseg_cli.generation.image_loop import FailedImage, WriteTask, run_image_loop
from iseg_cli.image_labels import ImageLabeler, choose_labeler
from iseg_cli.readers.base import Reader
from iseg_cli.readers.decoding import DecodedImage
from iseg_cli.readers.registry import dataset_info
from iseg_cli.storage.tags import TagFile
from iseg_cli.tagging.summary import TaggingSummary
from iseg_cli.types import Category, Sample

VERSIONS = ("iseg-cli", "torch", "transformers", "numpy", "pillow")
"""The packages whose versions are written to the file of scores."""

CHOOSING = ("threshold", "min_score")
"""The settings that choose labels from scores."""


def tag(
    settings: Settings,
    *,
    out: Path,
    ground_truth: str | None = None,
    limit: int | None = None,
    overwrite: bool = False,
) -> TaggingSummary:
    """Write the classes in each image of a dataset's split; a second call resumes the first.

    An image that cannot be read fails alone; a later run tries it again.

    Args:
        settings: the dataset, CLIP and the use of the machine.
        out: the file of labels, ending in `.json`.
        ground_truth: the true labels to score against, a value of `--labels`; None for the masks of
            the split, if it has some.
        limit: the number of images, from the first of the split on; None for all.
        overwrite: replace the file.

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
                **dataset_protocol(reader, images=len(kept), further={"truth": expected.name}),
                "model": describe_clip(tagger.clip),
                "refine": settings.clip.refine,
                "reidentify": settings.clip.reidentify,
                **_chosen_by(settings),
            },
        )
    return TaggingSummary(
        out,
        asked=len(image_ids) + len(reader.refused),
        labelled=len(done),
        resumed=len(image_ids) - len(todo),
        failed=failed | wrong | reader.refused,
        notes=(*reader.notes, *(() if expected is None else expected.notes)),
        report=report,
    )


def default_file(settings: Settings) -> Path:
    """Return the default file of labels: labels/<dataset>-<split>.json."""
    split = settings.split or dataset_info(settings.dataset).default_split
    return Path("labels", f"{settings.dataset}-{split}.json")


def _ground_truth(spec: str | None, reader: Reader) -> ImageLabeler | None:
    """Return the labeler of the true labels; None if they are unknown."""
    if spec is None and not reader.has_ground_truth:
        return None
    return choose_labeler(
        spec or "masks",
        label_set=reader.label_set,
        images=reader,
        ground_truth=reader.ground_truth if reader.has_ground_truth else None,
        annotated=reader.annotated,
        annotation_notes=reader.annotation_notes,
    )


def _expected(
    ground_truth: ImageLabeler, reader: Reader, image_ids: Sequence[str], workers: int
) -> tuple[dict[str, tuple[Category, ...]], dict[str, str]]:
    """Return the true labels of images, in their order, and the reasons of failures."""
    wrong: dict[str, str] = {}

    def look_up(image_id: str) -> tuple[Category, ...] | None:
        try:
            return ground_truth.labels(reader.sample(image_id))
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
    """Score the images, decoding in threads; return the reasons of failures, by image id."""
    failed: dict[str, str] = {}
    # disable=None: no bar if standard error is no terminal
    bar: tqdm[NoReturn] = tqdm(total=len(todo), unit="image", disable=None)

    def prepare(sample: Sample, decoded: DecodedImage) -> tuple[str, Shown]:
        return sample.image_id, tagger.fit(decoded.pixels)

    def score(batch: list[tuple[str, Shown]]) -> tuple[WriteTask, ...]:
        rows = tagger.score([shown for _, shown in batch]).tolist()
        scores = [[round(value, DECIMALS) for value in row] for row in rows]
        file.add(dict(zip((image_id for image_id, _ in batch), scores, strict=True)))
        bar.update(len(batch))
        return ()

    def fail(image: FailedImage) -> None:
        failed[image.image_id] = image.reason
        bar.update()

    with bar:
        run_image_loop(
            reader,
            todo,
            prepare=prepare,
            process=score,
            fail=fail,
            batch_size=tagger.batch_size,
            threads=workers,
        )
    return failed


def _scored_by(settings: Settings, reader: Reader, tagger: Tagger) -> dict[str, Any]:
    """Return everything that scores depend on; thresholds choose labels from the same scores."""
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
