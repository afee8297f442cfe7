"""The contents of an output folder: masks, and files that are not ours."""

import os
from pathlib import Path

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.files import TEMPORARY_SUFFIX, naming_faults
from iseg_cli.storage.lock import LOCK_NAME
from iseg_cli.storage.run_info import RUN_NAME
from iseg_cli.storage.writers.base import ImageFileWriter
from iseg_cli.storage.writers.registry import OUTPUT_WRITERS

_ENDINGS = (
    *(".png", ".jpg"),
    *(kind.ending for kind in OUTPUT_WRITERS if issubclass(kind, ImageFileWriter)),
)
"""Endings of masks, generated images and other outputs."""


def holds_masks(path: Path) -> bool:
    """Tell whether a folder holds a mask or another output of an image."""
    return any(name.endswith(_ENDINGS) for _, _, names in os.walk(path) for name in names)


def list_masks(path: Path) -> dict[str, Path]:
    """Return the PNGs under a folder by image id: the path below it without `.png` or `.PNG`.

    PredictionsError if there is no folder.
    """
    if not path.is_dir():
        raise PredictionsError(f"{path} is no folder; pass one that iseg generate wrote")
    found = (p for p in path.rglob("*") if p.suffix.lower() == ".png")
    # `.png`, which iseg writes, follows `.PNG` and has precedence.
    return {p.relative_to(path).with_suffix("").as_posix(): p for p in sorted(found)}


def refuse_foreign(path: Path) -> None:
    """Raise PredictionsError for a folder that holds files but no run of iseg."""
    with naming_faults("read", path):
        if path.exists() and not path.is_dir():
            raise PredictionsError(f"{path} is a file; pass a folder as --out")
        if not path.is_dir():
            return
        names = os.listdir(path)
        if (path / RUN_NAME).exists():  # after the listing: a shard may be starting
            return
    foreign = (n for n in names if not n.startswith(LOCK_NAME) and not n.endswith(TEMPORARY_SUFFIX))
    if (name := next(foreign, None)) is not None:
        raise PredictionsError(
            f"{path} holds {name} but no {RUN_NAME}; nothing was written: pass an empty folder "
            "as --out"
        )
