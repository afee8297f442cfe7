"""Opens what an evaluation compares: the output folder of a run and its dataset."""

from collections.abc import Sequence
from pathlib import Path

from iseg_cli.errors import PredictionsError
from iseg_cli.label_images import Legend, folder_legend
from iseg_cli.readers.base import Reader
from iseg_cli.readers.coco.classes import FROM_JSON
from iseg_cli.readers.folder import label_set_of
from iseg_cli.readers.label_tables import label_set_names, load_label_set
from iseg_cli.readers.registry import DATASETS, open_dataset
from iseg_cli.segmentation.segment_labels import segment_label_set
from iseg_cli.storage import SYNTHESIS, PredictionFolder, RunInfo


def find_runs(path: Path) -> list[Path]:
    """Return the run folders to evaluate: `path` itself, or the runs in it."""
    if (path / "run.json").is_file():
        return [path]
    return sorted(run.parent for run in path.glob("*/run.json")) or [path]


def open_run(predictions: Path, dataset: str | None) -> PredictionFolder | None:
    """Return the output folder of a run; None for other masks, which need a dataset.

    PredictionsError if the folder has no run.json, or is a dataset of `iseg synthesize`.
    """
    if dataset is not None and not (predictions / "run.json").exists():
        return None
    folder = PredictionFolder.open(predictions)
    if folder.info.task == SYNTHESIS:
        raise PredictionsError(
            f"{predictions} is a dataset that iseg synthesize wrote, not predictions; run iseg "
            f"generate --dataset voc --root {predictions} and evaluate those masks"
        )
    return folder


def open_reader(
    info: RunInfo | None,
    dataset: str | None,
    *,
    root: Path | None,
    split: str | None,
    label_set: str | None,
    categories: Sequence[str] | None,
    ground_truth: Path | None,
) -> Reader:
    """Open the named dataset; what is not given is taken from the run, if it is the run's dataset.

    Args:
        info: the contents of run.json; None for masks that `iseg generate` did not write.
        dataset: the name of the dataset; None means the run's.
        root: as in `open_dataset`, like the arguments after it.
        split: the split.
        label_set: the category table.
        categories: the categories, for the dataset `folder`.
        ground_truth: the folder of ground truth, for the dataset `folder`.
    """
    if info is not None and dataset in (None, info.dataset):
        dataset = info.dataset
        split = split or info.split
        label_set = label_set or info.settings.get("label_set")
        own = info.categories if dataset == "folder" else None  # other datasets have their own
        categories = categories or own
        # If the run's root has moved, it is found in the way of a new run.
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


def mask_legend(
    predictions: Path, folder: PredictionFolder | None, reader: Reader, matching: str
) -> Legend | None:
    """Return the legend of the masks; None if the values of their pixels are segments."""
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


def require_same_classes(info: RunInfo | None, reader: Reader) -> None:
    """Raise PredictionsError if the JSON that gave a run its classes has other classes now."""
    if info is None or not info.categories or reader.label_set.name != FROM_JSON:
        return
    now = tuple(category.name for category in reader.label_set.categories)
    if now != info.categories:
        raise PredictionsError(
            f"the masks have the classes {', '.join(info.categories)}, but the annotations in "
            f"{reader.root} have {', '.join(now)}; pass --root with the annotations of the run"
        )
