"""Scores a folder of masks against the ground truth of a dataset."""

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
from iseg_cli.evaluation.mask_selection import select_masks
from iseg_cli.evaluation.notes import notes_on_bits, notes_on_colors, suspicions
from iseg_cli.evaluation.opening import (
    mask_legend,
    open_reader,
    open_run,
    require_same_classes,
)
from iseg_cli.evaluation.protocol import count_kinds, evaluation_protocol
from iseg_cli.evaluation.report import Report
from iseg_cli.evaluation.scoring import score, suitable_workers
from iseg_cli.readers.folder import FolderReader
from iseg_cli.storage import png_size, write_atomically


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
    """Return the scores of a folder of masks; write them to its report.json if it is writable.

    Args:
        predictions: the output folder of a run, or any folder of PNGs `<image_id>.png` (which
            needs `dataset`).
        dataset: the dataset's name. None means the run's; this holds for the next four arguments.
        root: the dataset's folder.
        split: the split. Masks of other images are not scored; the report has their number.
        label_set: the name of one of the dataset's category tables.
        categories: the names of the categories, for the dataset `folder`.
        ground_truth: the folder of ground truth, for the dataset `folder`.
        matching: `none`: labels are classes. `image` or `dataset`: labels are segments, which are
            matched to classes per image or once. None means `image` for an unsupervised run,
            `none` otherwise.
        absent_classes: how a class counts that is predicted but absent from the ground truth.
            `count`: with an IoU of 0. `skip`: not at all.
        allow_missing: score the images that can be scored. If False, a folder is refused as soon
            as one image cannot be scored.
        workers: the number of processes. None chooses it by the number of pixels, up to the number
            of cores. With more than one, a script needs `if __name__ == "__main__":`.

    Raises:
        PredictionsError: there are no masks, a mask is missing or damaged, its size is not that of
            its ground truth, it has an unknown label, or no mask is of an image of the split.
        DataError: ground truth is missing or unreadable.
        DatasetNotFoundError: the dataset is not where it was looked for.

    Example:
        `evaluate(Path("predictions/voc-val"), workers=4).miou`
    """
    folder = open_run(predictions, dataset)
    info = folder.info if folder else None
    reader = open_reader(
        info,
        dataset,
        root=root,
        split=split,
        label_set=label_set,
        categories=categories,
        ground_truth=ground_truth,
    )
    require_same_classes(info, reader)
    if not reader.has_ground_truth:
        option = "--truth FOLDER" if isinstance(reader, FolderReader) else "--split or --root"
        raise DataError(
            f"split {reader.split} of {reader.name} in {reader.root} has no ground truth; "
            f"pass {option}"
        )
    if not reader.label_set.categories:
        raise SettingsError(
            'the classes of the ground truth have no names; pass --categories "cat, dog" for the '
            "labels 1, 2 ..., or --label-set NAME for the classes of a table"
        )
    matching = matching or ("image" if info and info.task == "unsupervised" else "none")
    _require_known(matching, MATCHINGS, what="matching")
    _require_known(absent_classes, ABSENT_CLASSES, what="way to count absent classes")
    masks = select_masks(predictions, folder, reader)
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
        legend=mask_legend(predictions, folder, reader, matching),
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
    protocol = evaluation_protocol(
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


def _require_known(value: str, known: Iterable[str], *, what: str) -> None:
    known = tuple(known)
    if value not in known:
        raise SettingsError(
            f"there is no {what} {value!r}{suggestion(value, known)}; there are {', '.join(known)}"
        )


def _suitable_workers(paths: Mapping[str, Path]) -> int:
    """Return how many processes are worth their start if all masks are as large as the first."""
    size = png_size(next(iter(paths.values())))
    return suitable_workers(len(paths), size) if size else 1


def _unscored(faults: Mapping[str, IsegError], scored: int) -> str:
    """Return the sentence about images that cannot be scored, with the first reasons."""
    reasons = [str(fault) for fault in faults.values()]
    return f"{len(faults)} of {len(faults) + scored} images cannot be scored: {first_of(reasons)}"


def _refusal(faults: Mapping[str, IsegError], scored: int) -> IsegError:
    """Return the error about images that cannot be scored; it says how to go on."""
    way_on = " (pass --allow-missing to score the others)" if scored else ""
    sentence = f"{_unscored(faults, scored)}{way_on}"
    if all(isinstance(fault, DataError) for fault in faults.values()):
        return DataError(sentence)
    return PredictionsError(sentence)
