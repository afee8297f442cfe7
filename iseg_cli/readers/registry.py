"""Finds the root of a dataset and opens one of its splits."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iseg_cli.config.resources import embedded_dataset
from iseg_cli.errors import DatasetNotFoundError, SettingsError
from iseg_cli.readers.base import Reader
from iseg_cli.readers.catalog import DATASETS, DatasetInfo, dataset_info
from iseg_cli.readers.checks import DOCS, require_label_set

__all__ = ["DATASETS", "DatasetInfo", "dataset_info", "find_root", "open_dataset"]

_USUAL = (Path(), Path("data"), Path("datasets"))


def open_dataset(
    name: str,
    *,
    root: Path | None = None,
    split: str | None = None,
    label_set: str | None = None,
    categories: Sequence[str] | None = None,
    ground_truth: Path | None = None,
) -> Reader:
    """Return the reader of one split of a dataset.

    Args:
        name: a key of `DATASETS`.
        root: its folder, or a folder that holds it. None looks in the environment variable and in
            the usual folders.
        split: the split; None means the dataset's default.
        label_set: the name of a category table of the dataset; None means its first. `from-json`
            means the categories of a JSON in COCO's format. The dataset `folder` takes any table.
        categories: the names of the categories; only for `folder`.
        ground_truth: a folder of masks `<image_id>.png`; only for `folder`.

    Raises:
        SettingsError: the dataset or label set is unknown, or an argument is of another dataset.
        DatasetNotFoundError: the root, the split or a folder is not where it was looked for.

    Example:
        >>> len(open_dataset("emoji-voc", split="val")) > 0
        True
    """
    info = dataset_info(name)
    extras: dict[str, Any] = {}
    if not info.label_sets:
        extras = {
            "categories": tuple(categories or ()),
            "label_set": label_set,
            "ground_truth": ground_truth,
        }
    elif categories is not None or ground_truth is not None:
        raise SettingsError(
            f"{name} has its own categories and masks; pass --dataset folder for others"
        )
    else:
        chosen = label_set or info.label_sets[0]
        own = () if info.own_label_set is None else (info.own_label_set,)
        require_label_set(chosen, (*info.label_sets, *own), name=name)
        if len(info.label_sets) > 1 or own:
            extras = {"label_set": chosen}
    found = find_root(info, root)
    return info.reader(found, split=split or info.default_split, **extras)


def find_root(info: DatasetInfo, root: Path | None = None) -> Path:
    """Return the folder of a dataset.

    If `root` or the environment variable is given, only that folder is tried: the folder itself and
    the dataset's usual paths inside it. Otherwise it is the embedded folder, or a usual path under
    the current folder. DatasetNotFoundError has every folder that was tried.
    """
    given = root or _from_environment(info)
    if given is not None:
        given = given.expanduser()
        candidates = [given, *(given / path for path in info.inside)]
    elif info.embedded:
        candidates = [embedded_dataset()]
    else:
        candidates = [base / path for base in _USUAL for path in info.inside]
    for candidate in candidates:
        if any(_has_marker(candidate, marker) for marker in info.markers):
            return candidate
    hint = f"pass --root, set {info.environment} or {DOCS}"
    if not candidates:
        raise DatasetNotFoundError(f"the dataset {info.name} has no usual folder; {hint}")
    marked = f", a folder with {' or '.join(info.markers)}," if any(info.markers) else ""
    raise DatasetNotFoundError(
        f"there is no dataset {info.name}{marked} at {', '.join(map(str, candidates))}; {hint}"
    )


def _has_marker(root: Path, marker: str) -> bool:
    path = root / marker
    return path.is_file() if marker.endswith(".json") else path.is_dir()


def _from_environment(info: DatasetInfo) -> Path | None:
    value = os.environ.get(info.environment)
    return Path(value) if value else None
