"""What lies in a folder that masks are written to or read from."""

import os
from pathlib import Path

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.files import TEMPORARY_SUFFIX, naming_faults
from iseg_cli.storage.lock import LOCK_NAME
from iseg_cli.storage.run_info import RUN_NAME


def holds_masks(path: Path) -> bool:
    """Tell whether a folder holds a mask, or anything else that a run writes for an image."""
    return any(
        name.endswith((".png", ".jpg", ".npz")) for _, _, names in os.walk(path) for name in names
    )


def list_masks(path: Path) -> dict[str, Path]:
    """Return the PNGs under a folder by image id: the path below it without `.png` or `.PNG`.

    PredictionsError where there is no folder.
    """
    if not path.is_dir():
        raise PredictionsError(f"{path} is no folder; pass one that iseg generate wrote")
    found = (p for p in path.rglob("*") if p.suffix.lower() == ".png")
    # `.png`, which iseg writes, is sorted behind `.PNG` and goes before it.
    return {p.relative_to(path).with_suffix("").as_posix(): p for p in sorted(found)}


def refuse_foreign(path: Path) -> None:
    """Refuse to write in a folder that holds files but no run of ours."""
    with naming_faults("read", path):
        if path.exists() and not path.is_dir():
            raise PredictionsError(f"{path} is a file; pass a folder as --out")
        if not path.is_dir():
            return
        names = os.listdir(path)
        if (path / RUN_NAME).exists():  # asked after the list was made: a shard may be starting
            return
    foreign = (n for n in names if not n.startswith(LOCK_NAME) and not n.endswith(TEMPORARY_SUFFIX))
    if (name := next(foreign, None)) is not None:
        raise PredictionsError(
            f"{path} holds {name} but no {RUN_NAME}; nothing was written: pass an empty folder "
            "as --out"
        )
