"""Masks against ground truth: which images, read how, added up, under which protocol."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from iseg_cli.errors import (
    DataError,
    IsegError,
    PredictionsError,
    SettingsError,
    first_of,
    suggestion,
)
from iseg_cli.evaluation import ABSENT_CLASSES, MATCHINGS
from iseg_cli.evaluation.mask_selection import find_masks
from iseg_cli.evaluation.notes import suspicions
from iseg_cli.evaluation.protocol import count_kinds, describe, notes_on_bits, notes_on_colors
from iseg_cli.evaluation.report import Report
from iseg_cli.evaluation.scoring import score, suitable_workers
from iseg_cli.label_images import Legend, folder_legend
from iseg_cli.readers.base import Reader
from iseg_cli.readers.coco.classes import FROM_JSON
from iseg_cli.readers.folder import FolderReader, label_set_of
from iseg_cli.readers.label_tables import label_set_names, load_label_set
from iseg_cli.readers.registry import DATASETS, open_dataset
from iseg_cli.segmentation.segment_labels import segment_label_set
from iseg_cli.storage import (
    SYNTHESIS,
    PredictionFolder,
    RunInfo,
    png_size,
    write_atomically,
)


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
    ground_truth: Path | None = None,
    matching: str | None = None,
    absent_classes: str = "count",
    allow_missing: bool = False,
    workers: int | None = 1,
) -> Report:
    """Score a folder of masks, and leave report.json in it where it can be written.

    Args:
        predictions: a folder that `iseg generate` wrote, or any folder of PNGs named as the
            dataset's images (`dataset` must be given then).
        dataset: the dataset's name; as in the run's run.json if None, like the next four.
        root: the dataset's folder.
        split: the split; masks of other images are not scored, and the report says how many.
        label_set: which of the dataset's category tables.
        categories: names of the categories, for the dataset `folder`.
        ground_truth: the folder of ground truth, for the dataset `folder`.
        matching: `none`: labels are classes; `image` or `dataset`: labels are segments that are
            matched to classes, per image or once. None: `image` for an unsupervised run.
        absent_classes: `count`: a class that is predicted but in no truth counts in the mean IoU,
            with 0; `skip`: it is left out of the mean.
        allow_missing: score the images whose mask and truth can be compared; otherwise a folder is
            refused where some cannot.
        workers: how many processes score; None: as many as there is work for, up to the cores.
            More than one import the main module: a program that asks for them needs
            `if __name__ == "__main__":`.

    Raises:
        PredictionsError: no predictions, an incomplete run, or masks that are damaged, of another
            size than their truth or with an unknown label; or none is of an image of the split.
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
        ground_truth=ground_truth,
    )
    _require_same_classes(info, reader)
    if not reader.has_ground_truth:
        option = "--truth FOLDER" if isinstance(reader, FolderReader) else "--split or --root"
        raise DataError(
            f"split {reader.split} of {reader.name} in {reader.root} has no ground truth to "
            f"compare with; pass {option}"
        )
    if not reader.label_set.categories:
        raise SettingsError(
            'the ground truth of a folder has classes without names; pass --categories "cat, dog" '
            "for the labels 1, 2 ..., or --label-set NAME for those of a table"
        )
    matching = matching or ("image" if info and info.task == "unsupervised" else "none")
    _require_known(matching, MATCHINGS, what="matching")
    _require_known(absent_classes, ABSENT_CLASSES, what="way with absent classes")
    masks = find_masks(predictions, folder, reader)
    if not allow_missing:
        masks.require_complete()
    if not masks.paths:
        raise PredictionsError(f"{predictions} has no mask of split {reader.split}")
    found = score(
        masks.paths,
        reader,
        matching,
        crop_side=info.crop_side if info else None,
        workers=workers or _suitable_workers(masks.paths),
        legend=_legend(predictions, folder, reader, matching),
    )
    images = len(masks.paths) - len(found.faults)
    if found.faults and not (allow_missing and images):
        raise _refusal(found.faults, images)
    predicted = set(masks.paths.values())
    by_color = count_kinds(found.by_color, predicted)
    notes = [
        *reader.notes,
        *masks.notes,
        *notes_on_colors(by_color),
        *notes_on_bits(count_kinds(found.from_bits, predicted), reader.label_set),
        *([_unscored(found.faults, images)] if found.faults else []),
        *suspicions(
            found.matrix,
            ignored=found.ignored,
            background=reader.label_set.background,
            named=matching == "none",
        ),
    ]
    protocol = describe(
        masks,
        matching=matching,
        absent_classes=absent_classes,
        faulty=len(found.faults),
        by_color=by_color,
        notes=notes,
    )
    report = Report.of_labels(
        found.matrix,
        reader.label_set.names,
        images=images,
        protocol=protocol,
        absent_classes=absent_classes,
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
    ground_truth: Path | None,
) -> Reader:
    """Open the dataset that is named, as the run did where it is the run's and nothing else is."""
    if info is not None and dataset in (None, info.dataset):
        dataset = info.dataset
        split = split or info.split
        label_set = label_set or info.settings.get("label_set")
        own = info.categories if dataset == "folder" else None  # others bring their own
        categories = categories or own
        # A root that has moved is looked for as a new run would.
        if root is None and info.root is not None and Path(info.root).is_dir():
            root = Path(info.root)
    return open_dataset(
        dataset or "",
        root=root,
        split=split,
        label_set=label_set,
        categories=categories,
        ground_truth=ground_truth,
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


def _require_same_classes(info: RunInfo | None, reader: Reader) -> None:
    """Raise PredictionsError where a run's labels were those of a JSON that has changed since."""
    if info is None or not info.categories or reader.label_set.name != FROM_JSON:
        return
    now = tuple(category.name for category in reader.label_set.categories)
    if now != info.categories:
        raise PredictionsError(
            f"the masks have the classes {', '.join(info.categories)}, and the annotations of "
            f"{reader.root} now have {', '.join(now)}; pass --root with the annotations of the run"
        )


def _require_known(value: str, known: Iterable[str], *, what: str) -> None:
    known = tuple(known)
    if value not in known:
        raise SettingsError(
            f"there is no {what} {value!r}{suggestion(value, known)}; there are {', '.join(known)}"
        )


def _suitable_workers(paths: Mapping[str, Path]) -> int:
    """Return how many processes are worth their start; all masks are taken for as large as one."""
    size = png_size(next(iter(paths.values())))
    return suitable_workers(len(paths), size) if size else 1


def _unscored(faults: Mapping[str, IsegError], scored: int) -> str:
    """Return the sentence about images whose mask or truth cannot be compared."""
    reasons = [str(fault) for fault in faults.values()]
    return f"{len(faults)} of {len(faults) + scored} images cannot be scored: {first_of(reasons)}"


def _refusal(faults: Mapping[str, IsegError], scored: int) -> IsegError:
    """Return the error that names the images that cannot be scored, and how to go on."""
    way_on = " (--allow-missing scores the others)" if scored else ""
    sentence = f"{_unscored(faults, scored)}{way_on}"
    if all(isinstance(fault, DataError) for fault in faults.values()):
        return DataError(sentence)
    return PredictionsError(sentence)
