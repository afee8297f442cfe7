"""The record of an image: one line of images.jsonl, as a frozen value."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from iseg_cli.storage.json_values import typed

Status = Literal["done", "empty", "failed"]


@dataclass(frozen=True)
class Drawing:
    """The provenance of a synthetic image, and the plausibility of its mask.

    Attributes:
        prompt: its prompt.
        seed: the seed of its noise.
        areas: each category's share of the pixels, 0 to 1.
        confidences: each category's mean margin over the second best score, 0 to 1.
    """

    prompt: str
    seed: int
    areas: tuple[float, ...]
    confidences: tuple[float, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Drawing":
        """Return the drawing in JSON; KeyError, TypeError or ValueError if there is none."""
        return cls(
            prompt=str(values["prompt"]),
            seed=int(values["seed"]),
            areas=tuple(float(area) for area in values["areas"]),
            confidences=tuple(float(confidence) for confidence in values["confidences"]),
        )


@dataclass(frozen=True)
class ImageRecord:
    """The result of a run for one image: one line of images.jsonl.

    Attributes:
        image_id: the image's name within the dataset.
        size: (height, width) of its mask in pixels; None for a failed image.
        categories: names of its categories.
        status: `done`, `empty` (no category to segment: the mask is all background) or `failed`.
        error: the reason of a failure, in one sentence.
        drawing: the provenance of a synthetic image.
        exif_orientation: the EXIF orientation, 2 to 8, of an image that its file holds turned or
            mirrored; its mask is upright. None for an image that is upright in its file.
    """

    image_id: str
    size: tuple[int, int] | None
    categories: tuple[str, ...]
    status: Status
    error: str | None = None
    drawing: Drawing | None = None
    exif_orientation: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types."""
        values = dataclasses.asdict(self)
        for name in ("drawing", "exif_orientation"):  # most images have none
            if values[name] is None:
                del values[name]
        return values

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "ImageRecord":
        """Return the record of a line; KeyError, TypeError or ValueError if there is none."""
        size = None
        if line["size"] is not None:
            height, width = line["size"]
            size = (typed(height, int), typed(width, int))
        if line["status"] not in ("done", "empty", "failed"):
            raise ValueError(f"status {line['status']!r}")
        names = typed(line["categories"], list | tuple)
        return cls(
            image_id=typed(line["image_id"], str),
            size=size,
            categories=tuple(typed(name, str) for name in names),
            status=line["status"],
            error=typed(line.get("error"), str | None),
            drawing=Drawing.from_json(line["drawing"]) if "drawing" in line else None,
            exif_orientation=typed(line.get("exif_orientation"), int | None),
        )
