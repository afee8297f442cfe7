"""Checks of folders, splits and label sets, with which a reader begins."""

from collections.abc import Iterable
from pathlib import Path

from iseg_cli.errors import DatasetNotFoundError, SettingsError, suggestion

DOCS = "see docs/datasets.md"
"""The end of a message about the layout of a folder."""


def require_folder(*candidates: Path, what: str) -> Path:
    """Return the first folder that exists; DatasetNotFoundError, with all of them, if none does.

    `what` ends the message's clause "there is no folder ...": `with the images of VOC`.
    """
    for folder in candidates:
        if folder.is_dir():
            return folder
    looked_for = " or ".join(str(folder) for folder in candidates)
    raise DatasetNotFoundError(f"there is no folder {looked_for} {what}; pass --root or {DOCS}")


def require_split(split: str, known: Iterable[str], *, name: str) -> None:
    """Raise DatasetNotFoundError, with the nearest name, if a dataset has no such split."""
    known = tuple(known)
    if split not in known:
        raise DatasetNotFoundError(
            f"{name} has no split {split!r}{suggestion(split, known)}; it has {', '.join(known)}"
        )


def require_label_set(label_set: str, known: Iterable[str], *, name: str) -> None:
    """Raise SettingsError, with the nearest name, if a dataset has no such label set."""
    known = tuple(known)
    if label_set not in known:
        raise SettingsError(
            f"{name} has no label set {label_set!r}{suggestion(label_set, known)}; "
            f"it has {', '.join(known)}"
        )


def first_existing(*candidates: Path) -> Path:
    """Return the first file that exists; the first of all, for a message, if none does."""
    return next((path for path in candidates if path.is_file()), candidates[0])
