"""The provenance of a run: everything that decides its results, for run.json."""

import datetime
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from iseg_cli.backbones.loading import DiffusionModel
from iseg_cli.config import Settings, to_dict
from iseg_cli.readers.base import Reader
from iseg_cli.storage import SYNTHESIS, RunInfo
from iseg_cli.types import Category

VERSIONS = ("iseg-cli", "torch", "diffusers", "transformers", "numpy", "pillow")
"""The distributions whose versions go into run.json."""


def describe_run(
    settings: Settings,
    model: DiffusionModel,
    reader: Reader | None,
    *,
    label_source: str,
    batch_size: int,
    images: int,
    limit: int | None = None,
    categories: Sequence[Category] | None = None,
    clip: Mapping[str, Any] | None = None,
) -> RunInfo:
    """Return the contents of run.json for a run that begins now.

    Args:
        settings: the resolved settings.
        model: the model whose attention is read.
        reader: the split of the dataset; None for a run that draws its images.
        label_source: where image-level labels come from.
        batch_size: images in a batch.
        images: the number of images of the run.
        limit: the greatest number of images, the first of the split; None for all.
        categories: those that the user chose; None where the dataset's table has them.
        clip: name, revision and fingerprint of the CLIP of the run, if it uses one.
    """
    return RunInfo(
        dataset=settings.dataset,
        root=None if reader is None else str(reader.root.resolve()),
        split="train" if reader is None else reader.split,
        label_source=label_source,
        task=SYNTHESIS if reader is None else settings.task,
        model={
            "name": settings.model,
            "revision": model.revision,
            "fingerprint": model.fingerprint(),
            **({} if clip is None else {"clip": clip}),
        },
        settings=to_dict(settings),
        seed=settings.seed,
        batch_size=batch_size,
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(model.device),
        images=images,
        limit=limit,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), **{v: version(v) for v in VERSIONS}},
        categories=None if categories is None else tuple(c.name for c in categories),
        crop_side=model.image_size if reader and settings.crop == "center" else None,
    )
