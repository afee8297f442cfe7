"""Finds a dataset and opens it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iseg_cli.config.resources import embedded_dataset
from iseg_cli.errors import DatasetNotFoundError, SettingsError
from iseg_cli.readers.base import DOCS, Reader, require_label_set
from iseg_cli.readers.catalog import DATASETS, DatasetInfo, dataset_info

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
    """Open one split of a dataset.

    Args:
        name: a key of `DATASETS`.
        root: its folder, or one that holds it; else the environment and the usual places are tried.
        split: the dataset's default split if None.
        label_set: one of the dataset's tables, the first if None; `from-json` for the categories
            of a JSON of COCO's format; for `folder` any table, in place of categories.
        categories: names of what to segment; `folder` only.
        ground_truth: a folder of masks `<image_id>.png`; `folder` only.

    Raises:
        SettingsError: an unknown dataset or label set, or an extra that the dataset does not take.
        DatasetNotFoundError: no root, split or folder where it was looked for.
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
            f"{name} brings its own categories and masks; use the dataset `folder` for others"
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
    """Return a dataset's folder.

    A root that is given, or else the environment's, is taken alone (itself, or where it holds the
    dataset in its usual place); else the embedded folder or the usual places under the current
    folder are tried. DatasetNotFoundError names every folder that was looked for.
    """
    given = root or _from_environment(info)
    if given is not None:
        given = given.expanduser()
        candidates = [given, *(given / place for place in info.inside)]
    elif info.embedded:
        candidates = [embedded_dataset()]
    else:
        candidates = [base / place for base in _USUAL for place in info.inside]
    for candidate in candidates:
        if any(_is_there(candidate, marker) for marker in info.markers):
            return candidate
    hint = f"pass --root, set {info.environment} or {DOCS}"
    if not candidates:
        raise DatasetNotFoundError(f"the dataset {info.name} needs to be told where it is; {hint}")
    marked = f", a folder with {' or '.join(info.markers)}," if any(info.markers) else ""
    raise DatasetNotFoundError(
        f"there is no dataset {info.name}{marked} at {', '.join(map(str, candidates))}; {hint}"
    )


def _is_there(root: Path, marker: str) -> bool:
    path = root / marker
    return path.is_file() if marker.endswith(".json") else path.is_dir()


def _from_environment(info: DatasetInfo) -> Path | None:
    value = os.environ.get(info.environment)
    return Path(value) if value else None
