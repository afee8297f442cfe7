"""Masks against ground truth: which images, read how, added up, under which protocol."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iseg_cli.errors import DataError, PredictionsError, SettingsError, suggestion
from iseg_cli.evaluation import MATCHINGS
from iseg_cli.evaluation.report import Report
from iseg_cli.label_images import Legend, folder_legend
from iseg_cli.readers.base import Reader
from iseg_cli.readers.folder import label_set_of
from iseg_cli.readers.registry import DATASETS, open_dataset
from iseg_cli.readers.tables import label_set_names, load_label_set
from iseg_cli.storage import (
    SYNTHESIS,
    PredictionFolder,
    RunInfo,
    list_masks,
    png_size,
    write_atomically,
)
from iseg_cli.workflows.protocol import count_by_color, describe
from iseg_cli.workflows.scoring import score, suitable_workers
from iseg_cli.workflows.segment_labels import segment_label_set


@dataclass(frozen=True)
class _Masks:
    """Which masks are scored, and what is known about the others.

    Attributes:
        info: what the run wrote about itself; None for a folder from elsewhere.
        paths: the masks to score, by image id.
        missing: images that were asked for and have no mask.
        failed: those of them that were tried.
    """

    info: RunInfo | None
    paths: Mapping[str, Path]
    missing: Sequence[str]
    failed: Sequence[str]


def find_runs(path: Path) -> list[Path]:
    """Return the folders to evaluate: `path`, or the runs right inside a folder of runs."""
    if (path / "run.json").is_file():
        return [path]
    return sorted(run.parent for run in path.glob("*/run.json")) or [path]


def evaluate(
    predictions: Path,
    *,
    dataset: str | None = None,
    root: Path | None = None,
    split: str | None = None,
    label_set: str | None = None,
    categories: Sequence[str] | None = None,
    truth: Path | None = None,
    matching: str | None = None,
    allow_missing: bool = False,
    workers: int | None = 1,
) -> Report:
    """Score a folder of masks, and leave report.json in it where it can be written.

    Args:
        predictions: a folder that `iseg generate` wrote, or any folder of PNGs named as the
            dataset's images (`dataset` must be given then).
        dataset: the dataset's name; as in the run's run.json if None, like the next four.
        root: the dataset's folder.
        split: the split.
        label_set: which of the dataset's category tables.
        categories: names of the categories, for the dataset `folder`.
        truth: the folder of ground truth, for the dataset `folder`.
        matching: `none`: labels are classes; `image` or `dataset`: labels are segments that are
            matched to classes, per image or once. None: `image` for an unsupervised run.
        allow_missing: score the masks that exist; otherwise an incomplete run is refused.
        workers: how many processes score; None: as many as there is work for, up to the cores.
            More than one import the main module: a program that asks for them needs
            `if __name__ == "__main__":`.

    Raises:
        PredictionsError: no predictions, an incomplete run, a mask that is damaged, of another
            size than its truth, of no image or with an unknown label.
        DataError: ground truth that is missing or unreadable.
        DatasetNotFoundError: no dataset where it was looked for.
    """
    folder = _open_run(predictions, dataset)
    info = folder.info if folder else None
    reader = _open_reader(
        info,
        dataset,
        root=root,
        split=split,
        label_set=label_set,
        categories=categories,
        truth=truth,
    )
    if not reader.has_truth:
        raise DataError(
            f"split {reader.split} of {reader.name} in {reader.root} has no ground truth to "
            "compare with; pass --split or --root"
        )
    matching = matching or ("image" if info and info.task == "unsupervised" else "none")
    if matching not in MATCHINGS:
        raise SettingsError(
            f"there is no matching {matching!r}{suggestion(matching, MATCHINGS)}; "
            f"there are {', '.join(MATCHINGS)}"
        )
    masks = _find_masks(predictions, folder, reader)
    if masks.missing and not allow_missing:
        raise PredictionsError(_incomplete(predictions, masks))
    if not masks.paths:
        raise PredictionsError(f"{predictions} has no mask of split {reader.split}")
    by_color: set[Path] = set()
    matrix = score(
        masks.paths,
        reader,
        matching,
        crop_side=info.crop_side if info else None,
        workers=workers or _suitable_workers(masks),
        legend=_legend(predictions, folder, reader, matching),
        by_color=by_color,
    )
    report = Report.of_labels(
        matrix,
        reader.label_set.names,
        images=len(masks.paths),
        protocol=describe(
            info,
            reader,
            matching,
            images=len(masks.paths),
            missing=len(masks.missing),
            failed=len(masks.failed),
            by_color=count_by_color(by_color, set(masks.paths.values())),
        ),
    )
    if os.access(predictions, os.W_OK):
        text = json.dumps(report.to_json_dict(), indent=2, ensure_ascii=False)
        write_atomically(predictions / "report.json", (text + "\n").encode())
    return report


def _open_run(predictions: Path, dataset: str | None) -> PredictionFolder | None:
    """Return the folder of a run; None for masks from elsewhere, which need a dataset."""
    if dataset is not None and not (predictions / "run.json").exists():
        return None
    folder = PredictionFolder.open(predictions)
    if folder.info.task == SYNTHESIS:
        raise PredictionsError(
            f"{predictions} is a dataset that iseg synthesize wrote, not predictions; make masks "
            f"for its images (iseg generate --dataset voc --root {predictions}) and evaluate those"
        )
    return folder


def _open_reader(
    info: RunInfo | None,
    dataset: str | None,
    *,
    root: Path | None,
    split: str | None,
    label_set: str | None,
    categories: Sequence[str] | None,
    truth: Path | None,
) -> Reader:
    """Open the dataset that is named, as the run did where it is the run's and nothing else is."""
    if info is not None and dataset in (None, info.dataset):
        dataset = info.dataset
        split = split or info.split
        label_set = label_set or info.settings.get("label_set")
        categories = categories or info.categories
        # A root that has moved is looked for as a new run would.
        if root is None and info.root is not None and Path(info.root).is_dir():
            root = Path(info.root)
    return open_dataset(
        dataset or "",
        root=root,
        split=split,
        label_set=label_set,
        categories=categories,
        truth=truth,
    )


def _legend(
    predictions: Path, folder: PredictionFolder | None, reader: Reader, matching: str
) -> Legend | None:
    """Return what the values and colours of masks mean; None where their values alone count."""
    if folder is None:
        if matching != "none":
            return None
        return folder_legend(predictions, label_set=reader.label_set)
    info = folder.info
    if info.task == "unsupervised":
        return folder.legend(segment_label_set())
    if info.dataset == reader.name or info.dataset not in DATASETS:
        return folder.legend(reader.label_set)
    if info.categories is not None:
        return folder.legend(label_set_of(info.categories))
    name = next(iter(DATASETS[info.dataset].label_sets), None)
    name = info.settings.get("label_set") or name
    return folder.legend(load_label_set(name) if name in label_set_names() else reader.label_set)


def _find_masks(predictions: Path, folder: PredictionFolder | None, reader: Reader) -> _Masks:
    """Return the masks of the images that were asked for; PredictionsError for one of no image."""
    info = folder.info if folder else None
    wanted: Sequence[str] = reader.image_ids
    if folder is None:
        found, failed = list_masks(predictions), set[str]()
    else:
        found = {image_id: folder.mask_path(image_id) for image_id in folder.finished()}
        failed = {record.image_id for record in folder.failed()}
        wanted = wanted[: folder.info.limit]
    if unknown := sorted(found.keys() - set(reader.image_ids)):
        raise PredictionsError(
            f"{found[unknown[0]]} belongs to no image of split {reader.split} of {reader.name} "
            f"({len(unknown)} such masks); pass the --dataset and --split it was made for"
        )
    missing = [image_id for image_id in wanted if image_id not in found]
    return _Masks(
        info=info,
        paths={image_id: found[image_id] for image_id in wanted if image_id in found},
        missing=missing,
        failed=[image_id for image_id in missing if image_id in failed],
    )


def _suitable_workers(masks: _Masks) -> int:
    """Return how many processes are worth their start; all masks are taken for as large as one."""
    size = png_size(next(iter(masks.paths.values())))
    return suitable_workers(len(masks.paths), size) if size else 1


def _incomplete(predictions: Path, masks: _Masks) -> str:
    """Return the sentence that refuses an incomplete run and says how to go on."""
    number = len(masks.missing)
    of = number + len(masks.paths)
    why = f", {len(masks.failed)} of them failed" if masks.failed else ""
    resume = "add them"
    if (info := masks.info) is not None:
        split = f" --split {info.split}" if info.split else ""
        limit = f" --limit {info.limit}" if info.limit is not None else ""
        resume = (
            f"resume with iseg generate --dataset {info.dataset}{split}{limit} --out {predictions} "
            "and the options of the first time"
        )
    return (
        f"{predictions} is incomplete: {number} of {of} masks are missing{why} "
        f"(first: {masks.missing[0]}); {resume}, or score the others with --allow-missing"
    )
