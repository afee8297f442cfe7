"""The provenance of a run: the contents of run.json, as a frozen value."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from iseg_cli.config import setting_names
from iseg_cli.errors import PredictionsError
from iseg_cli.label_images import Written
from iseg_cli.storage.json_values import NOT_OURS, typed

RUN_NAME = "run.json"

SYNTHESIS = "synthesis"
"""The task of a run that generated its images."""

_IDENTITY = (
    "dataset",
    "split",
    "label_source",
    "task",
    "model",
    "settings",
    "seed",
    "batch_size",
    "dtype",
    "categories",
)
"""The fields of a run that decide its masks."""

_SETTINGS_ASIDE = frozenset(
    {"dataset", "root", "split", "labels", "task", "model", "seed", "runtime", "filter"}
)
"""Settings that run.json has as fields of their own, or that decide no mask."""


@dataclass(frozen=True)
class RunInfo:
    """The provenance of masks: the contents of run.json, enough to evaluate them without options.

    Attributes:
        dataset: the dataset's name in the registry.
        root: the dataset's folder, which may move between two runs.
        split: the split's name; None if the dataset has none.
        label_source: where image-level labels came from (`masks`, `file:PATH` ...).
        task: `wsss`, `open-vocabulary`, `unsupervised` or `synthesis`.
        model: the model's name, revision and fingerprint.
        settings: the resolved settings, nested by section.
        seed: the seed of the noise.
        batch_size: images in one forward pass; sums of another size are rounded differently.
        dtype: the model's number format.
        device: the device of the model.
        versions: of iseg, torch, diffusers ... by name.
        images: how many images the run was asked for.
        limit: the number of images, from the first of the split on; None for all.
        created: when the run first started, ISO 8601.
        status: `running` until every image has been tried, then `finished`.
        categories: names of the categories that the user chose, for example for the dataset
            `folder`; None for those of the dataset's table.
        crop_side: the side in pixels of masks that cover the resized middle squares of their
            images; None for masks that cover whole images at their sizes.
    """

    dataset: str
    root: str | None
    split: str | None
    label_source: str
    task: str
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    seed: int
    batch_size: int | str
    dtype: str
    device: str
    images: int
    limit: int | None
    created: str
    versions: Mapping[str, str] = field(default_factory=dict)
    status: Literal["running", "finished"] = "running"
    categories: tuple[str, ...] | None = None
    crop_side: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, contents: Mapping[str, Any]) -> "RunInfo":
        """Return the run of a run.json; TypeError or ValueError if it is not ours.

        Keys of a later version are ignored.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        info = cls(**{key: value for key, value in contents.items() if key in known})
        for name, kind in _RUN_TYPES.items():
            typed(getattr(info, name), kind)
        if info.status not in ("running", "finished"):
            raise ValueError(f"status {info.status!r}")
        if info.categories is not None:
            names = tuple(typed(name, str) for name in info.categories)
            info = dataclasses.replace(info, categories=names)
        return info

    def differences(self, other: "RunInfo") -> list[str]:
        """Return the settings that change the masks: `refine.iterations 10 -> 8` and so on.

        Settings with other names, from another version of iseg, are not compared.
        """
        if _names(self.settings) ^ _names(other.settings):
            return ["by a version of iseg whose settings have other names"]
        old, new = dict(_flat(self)), dict(_flat(other))
        absent = "(none)"
        return [
            f"{key} {old.get(key, absent)} -> {new.get(key, absent)}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]


_RUN_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("dataset", "label_source", "task", "dtype", "device", "created"), str),
    **dict.fromkeys(("model", "settings", "versions"), Mapping),
    **dict.fromkeys(("seed", "images"), int),
    **dict.fromkeys(("root", "split"), str | None),
    **dict.fromkeys(("limit", "crop_side"), int | None),
    "batch_size": int | str,
    "categories": list | tuple | None,
}
"""The types of the values of a run.json, by key."""


def _names(values: Mapping[str, Any], above: str = "") -> frozenset[str]:
    """Return the dotted names of settings, without those that a folder may lack."""
    names: set[str] = set()
    for key, value in values.items():
        name = f"{above}{key}"
        if name == "png" or name in _SETTINGS_ASIDE:
            continue
        is_section = isinstance(value, Mapping) and name not in setting_names()
        names |= _names(value, f"{name}.") if is_section else {name}
    return frozenset(names)


def _flat(info: RunInfo) -> Iterator[tuple[str, str]]:
    """Yield dotted keys and JSON values of the part of a run that decides its masks."""
    contents = info.to_json()
    for key in _IDENTITY:
        value = contents[key]
        if key == "settings":  # with the names of `--set`
            value = {name: v for name, v in value.items() if name not in _SETTINGS_ASIDE}
            value["png"] = written_as(value)
            yield from _walk("", value)
        else:
            yield from _walk(key, value)


def _walk(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _walk(f"{key}.{name}" if key else str(name), inner)
    else:
        yield key, json.dumps(value)


def written_as(settings: Mapping[str, Any]) -> Written:
    """Return how a run of these settings writes masks: by default with palettes."""
    return "grey" if settings.get("png") == "grey" else "palette"


def read_info(folder: Path) -> RunInfo | None:
    """Return the run of a folder's run.json; None if it has none.

    PredictionsError if the file is damaged or not ours.
    """
    path = folder / RUN_NAME
    try:
        return RunInfo.from_json(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PredictionsError(f"cannot read {path}: {error.strerror}") from error
    except (*NOT_OURS, AttributeError) as error:
        raise PredictionsError(
            f"{path} is damaged or was not written by iseg generate; pass another folder"
        ) from error
