"""Which datasets there are, and where each is looked for."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from iseg_cli.errors import DatasetNotFoundError, SettingsError, suggestion
from iseg_cli.readers import cityscapes, coco, folder, voc
from iseg_cli.readers.base import DOCS, Reader
from iseg_cli.resources import embedded_dataset

_USUAL = (Path(), Path("data"), Path("datasets"))


@dataclass(frozen=True)
class DatasetInfo:
    """What the command line has to know of a dataset before it is opened.

    Attributes:
        name: as `--dataset` takes it.
        description: one line for `iseg info` and the docs.
        reader: called with (root, split=...) and the extras of its signature.
        splits: the splits it has; VOC's layout takes further lists beside them.
        default_split: the one that is taken when none is asked for.
        label_sets: names of its tables, the default first; none where the user names categories.
        preset: the name of its default settings in configs/.
        markers: folders of which a root has at least one.
        inside: where a root lies within a folder of datasets.
        embedded: whether it ships with iseg.
    """

    name: str
    description: str
    reader: Callable[..., Reader]
    splits: tuple[str, ...]
    default_split: str
    label_sets: tuple[str, ...]
    preset: str
    markers: tuple[str, ...]
    inside: tuple[str, ...] = ()
    embedded: bool = False

    @property
    def environment(self) -> str:
        """The environment variable that names its root: ISEG_VOC_ROOT, ISEG_EMOJI_VOC_ROOT ..."""
        return f"ISEG_{self.name.upper().replace('-', '_')}_ROOT"


_ALL = (
    DatasetInfo(
        name="voc",
        description="PASCAL VOC 2012: 20 classes and background",
        reader=voc.VocReader,
        splits=("train", "train_aug", "trainval", "val"),
        default_split="train",
        label_sets=("voc",),
        preset="voc",
        markers=("JPEGImages",),
        inside=("VOCdevkit/VOC2012", "VOC2012"),
    ),
    DatasetInfo(
        name="coco",
        description="COCO 2014 and 2017: 80 classes and background",
        reader=coco.CocoReader,
        splits=coco.SPLITS,
        default_split="train2014",
        label_sets=("coco",),
        preset="coco",
        markers=("annotations", "images", *coco.SPLITS),
        inside=("coco", "COCO", "coco2014", "coco2017"),
    ),
    DatasetInfo(
        name="cityscapes",
        description="Cityscapes: 19 train ids, or the 27 classes of unsupervised segmentation",
        reader=cityscapes.CityscapesReader,
        splits=cityscapes.SPLITS,
        default_split="val",
        label_sets=cityscapes.LABEL_SETS,
        preset="cityscapes",
        markers=("leftImg8bit",),
        inside=("cityscapes", "Cityscapes"),
    ),
    DatasetInfo(
        name="folder",
        description="any folder of images, with the categories you name",
        reader=folder.FolderReader,
        splits=folder.SPLITS,
        default_split="all",
        label_sets=(),
        preset="folder",
        markers=("",),
    ),
    DatasetInfo(
        name="emoji-voc",
        description="ships with iseg: scenes of emoji in VOC's layout, for the embedded model",
        reader=voc.EmojiVocReader,
        splits=("train", "val", "style"),
        default_split="val",
        label_sets=("emoji-voc",),
        preset="emoji-voc",
        markers=("JPEGImages",),
        embedded=True,
    ),
)

DATASETS: Mapping[str, DatasetInfo] = MappingProxyType({info.name: info for info in _ALL})
"""The datasets by name, in the order of the docs."""


def dataset_info(name: str) -> DatasetInfo:
    """Return a dataset's entry; SettingsError, with the nearest name, for one that is unknown."""
    if name not in DATASETS:
        raise SettingsError(
            f"there is no dataset {name!r}{suggestion(name, DATASETS)}; "
            f"there are {', '.join(DATASETS)}"
        )
    return DATASETS[name]


def open_dataset(
    name: str,
    *,
    root: Path | None = None,
    split: str | None = None,
    label_set: str | None = None,
    categories: Sequence[str] | None = None,
    truth: Path | None = None,
) -> Reader:
    """Open one split of a dataset.

    Args:
        name: a key of `DATASETS`.
        root: its folder, or one that holds it; else the environment and the usual places are tried.
        split: the dataset's default split if None.
        label_set: one of the dataset's tables, the first if None.
        categories: names of what to segment; `folder` only.
        truth: a folder of masks `<image_id>.png`; `folder` only.

    Raises:
        SettingsError: an unknown dataset or label set, or an extra that the dataset does not take.
        DatasetNotFoundError: no root, split or folder where it was looked for.
    """
    info = dataset_info(name)
    extras: dict[str, Any] = {}
    if label_set is not None and label_set not in info.label_sets:
        known = ", ".join(info.label_sets) or "only the categories you name"
        raise SettingsError(
            f"{name} has no label set {label_set!r}{suggestion(label_set, info.label_sets)}; "
            f"it has {known}"
        )
    if len(info.label_sets) > 1:
        extras["label_set"] = label_set or info.label_sets[0]
    if info.label_sets and (categories is not None or truth is not None):
        raise SettingsError(
            f"{name} brings its own categories and masks; use the dataset `folder` for others"
        )
    if not info.label_sets:
        extras = {"categories": tuple(categories or ()), "truth": truth}
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
        if any((candidate / marker).is_dir() for marker in info.markers):
            return candidate
    hint = f"pass --root, set {info.environment} or {DOCS}"
    if not candidates:
        raise DatasetNotFoundError(f"the dataset {info.name} needs to be told where it is; {hint}")
    marked = f", a folder with {' or '.join(info.markers)}," if any(info.markers) else ""
    raise DatasetNotFoundError(
        f"there is no dataset {info.name}{marked} at {', '.join(map(str, candidates))}; {hint}"
    )


def _from_environment(info: DatasetInfo) -> Path | None:
    value = os.environ.get(info.environment)
    return Path(value) if value else None
