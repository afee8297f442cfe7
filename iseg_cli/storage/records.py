"""What the lines of images.jsonl and the contents of run.json mean, as frozen values."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from iseg_cli.config import setting_names
from iseg_cli.errors import PredictionsError
from iseg_cli.label_images import Written

RUN_NAME = "run.json"

SYNTHESIS = "synthesis"
"""The task of a run that drew its images."""

Status = Literal["done", "empty", "failed"]

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
NOT_OURS = (ValueError, TypeError, KeyError, RecursionError)
"""What reading a file of somebody else's, or a damaged one, comes to."""
_SETTINGS_ASIDE = frozenset(
    {"dataset", "root", "split", "labels", "task", "model", "seed", "runtime", "filter"}
)
"""Settings that run.json gives resolved beside its settings, or that decide no mask."""


@dataclass(frozen=True)
class Drawing:
    """How an image of a synthetic dataset was drawn, and how plausible its mask is.

    Attributes:
        prompt: the text it was drawn from.
        seed: of its noise.
        areas: the share of its pixels that each of the record's categories takes, 0 to 1.
        confidences: by how much each category beat its best rival there, on average, 0 to 1.
    """

    prompt: str
    seed: int
    areas: tuple[float, ...]
    confidences: tuple[float, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Drawing":
        """Return the drawing of a record; KeyError, TypeError or ValueError where it is none."""
        return cls(
            prompt=str(values["prompt"]),
            seed=int(values["seed"]),
            areas=tuple(float(area) for area in values["areas"]),
            confidences=tuple(float(confidence) for confidence in values["confidences"]),
        )


@dataclass(frozen=True)
class ImageRecord:
    """What became of one image: one line of images.jsonl.

    Attributes:
        image_id: the image's name within the dataset.
        size: (height, width) of its mask in pixels; None where a failed image has none.
        categories: names of the categories that were asked for.
        status: `done`, `empty` (no category to segment: the mask is all background) or `failed`.
        error: why it failed, in one sentence.
        drawing: how it was drawn, for an image of a synthetic dataset.
        exif_orientation: the EXIF orientation, 2 to 8, of an image whose file holds it turned or
            mirrored; its mask is upright. None where the file holds it upright.
    """

    image_id: str
    size: tuple[int, int] | None
    categories: tuple[str, ...]
    status: Status
    error: str | None = None
    drawing: Drawing | None = None
    exif_orientation: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON's types."""
        values = dataclasses.asdict(self)
        for name in ("drawing", "exif_orientation"):  # of few images
            if values[name] is None:
                del values[name]
        return values

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "ImageRecord":
        """Return the record of a line; KeyError, TypeError or ValueError where it is none."""
        size = None
        if line["size"] is not None:
            height, width = line["size"]
            size = (_typed(height, int), _typed(width, int))
        if line["status"] not in ("done", "empty", "failed"):
            raise ValueError(f"status {line['status']!r}")
        names = _typed(line["categories"], list | tuple)
        return cls(
            image_id=_typed(line["image_id"], str),
            size=size,
            categories=tuple(_typed(name, str) for name in names),
            status=line["status"],
            error=_typed(line.get("error"), str | None),
            drawing=Drawing.from_json(line["drawing"]) if "drawing" in line else None,
            exif_orientation=_typed(line.get("exif_orientation"), int | None),
        )


@dataclass(frozen=True)
class RunInfo:
    """Where masks come from: the contents of run.json, enough to evaluate them without options.

    Attributes:
        dataset: the dataset's name in the registry.
        root: the dataset's folder, which may move between two runs.
        split: the split's name, None where the dataset has none.
        label_source: where image-level labels came from (`masks`, `file:PATH` ...).
        task: `wsss`, `open-vocabulary`, `unsupervised` or `synthesis`.
        model: the model's name, revision and what else tells it from others.
        settings: the resolved settings, nested by section.
        seed: the seed of the noise.
        batch_size: images in one forward pass (sums are rounded differently in another size).
        dtype: the model's number format.
        device: what it ran on.
        versions: of iseg, torch, diffusers ... by name.
        images: how many images were asked for.
        limit: the first so many images of the split, or None for all.
        created: when the run first started, ISO 8601.
        status: `running` until every image has been tried, then `finished`.
        categories: names of the label set's categories where the user chose them, as for the
            dataset `folder`; None where the dataset's table has them.
        crop_side: the side in pixels of the masks where they cover the middle squares of their
            images, resized; None where they cover all of their images at their sizes.
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
        """Return the run as JSON's types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, contents: Mapping[str, Any]) -> "RunInfo":
        """Return the run of a run.json; TypeError or ValueError where it is not ours.

        Keys of a later version are passed over.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        info = cls(**{key: value for key, value in contents.items() if key in known})
        for name, kind in _RUN_TYPES.items():
            _typed(getattr(info, name), kind)
        if info.status not in ("running", "finished"):
            raise ValueError(f"status {info.status!r}")
        if info.categories is not None:
            names = tuple(_typed(name, str) for name in info.categories)
            info = dataclasses.replace(info, categories=names)
        return info

    def differences(self, other: "RunInfo") -> list[str]:
        """Name what decides the masks' bytes and differs, as `refine.iterations 10 -> 8`.

        Settings of other names, as another version of iseg writes them, are not compared.
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
"""What the values of a run.json must be, by key."""


def _typed(value: Any, kind: Any) -> Any:
    """Return a value of JSON if it is of a kind; TypeError where it is not."""
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} in place of {kind}")
    return value


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
    """Give dotted keys and JSON values of the part of a run that decides its masks."""
    contents = info.to_json()
    for key in _IDENTITY:
        value = contents[key]
        if key == "settings":  # named as `--set` names them
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


def json_text(values: Any, *, indent: int | None = None) -> str:
    """Return values as JSON to read; where a name is no valid Unicode, its characters escaped."""
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of a file name that are no UTF-8 come as lone surrogates
        return json.dumps(values, indent=indent)
    return text


def written_as(settings: Mapping[str, Any]) -> Written:
    """Return how a run of these settings writes masks: with palettes, where they do not say."""
    return "grey" if settings.get("png") == "grey" else "palette"


def read_info(folder: Path) -> RunInfo | None:
    """Return a folder's run.json, None where it has none; PredictionsError where it is not ours."""
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
