"""What lies in a folder of pictures: images by id, files that cannot be masks' images, the rest."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from iseg_cli.readers.file_kinds import (
    IMAGE_SUFFIXES,
    OTHER_SUFFIXES,
    VIDEO_SUFFIXES,
    fault_of_kind,
    looks_like_image,
)

_OF_A_RUN = ("run.json", "images*.jsonl")
"""The files by which a folder of predictions is known; a shard has records of its own."""

_OTHERS = (
    ".txt .json .jsonl .xml .csv .tsv .yaml .yml .md .html .htm .pdf .npy .npz .mat .pkl .pt .h5 "
    ".zip .tar .gz .7z .db .ini .log .py .url .lnk .aae .xmp .pp3 .thm .lrv .wav .mp3"
)
_NO_PICTURES = frozenset(_OTHERS.split())
"""Endings of what often lies beside images; the contents of other unknown files are looked at."""

_NAMED = 3
"""Of many files so many are named in one sentence."""


@dataclass(frozen=True)
class Listing:
    """The files below a folder.

    Attributes:
        images: the file of each image, by its path below the folder without the ending.
        refused: what is wrong with a picture or folder that cannot be used, as a sentence, by its
            id, or by its path where the id is an image's.
        notes: what was passed over, a sentence each.
    """

    images: dict[str, Path]
    refused: dict[str, str]
    notes: tuple[str, ...]


def list_images(root: Path, *, leaving_out: Path | None = None) -> Listing:
    """Return what lies below a folder, links to folders included, in the order of the names.

    Names that begin with a dot are passed over, and so are folders of predictions. Images of one id
    are all refused: no mask could be told from the other.

    Args:
        root: the folder.
        leaving_out: a folder whose images are none of the dataset's: its truth.
    """
    walk = _Walk(root, None if leaving_out is None else leaving_out.resolve())
    by_id: dict[str, list[str]] = defaultdict(list)
    faults: dict[str, str] = {}
    videos: list[str] = []
    unnamed: list[str] = []
    for name in walk.files():
        suffix = os.path.splitext(name)[1].lower()
        if suffix in IMAGE_SUFFIXES or suffix in OTHER_SUFFIXES:
            if fault := fault_of_kind(root / name):
                faults[name] = fault
            else:
                by_id[_id_of(name)].append(name)
        elif suffix in VIDEO_SUFFIXES:
            videos.append(name)
        elif suffix not in _NO_PICTURES and looks_like_image(root / name):
            unnamed.append(name)
    clashes = _clashes(by_id, root)
    images = {
        image_id: root / names[0] for image_id, names in by_id.items() if names[0] not in clashes
    }
    refused: dict[str, str] = {}
    for name, reason in (clashes | faults).items():
        taken = images.keys() | refused.keys()
        refused[_key(name, taken, prefer_path=name in clashes)] = reason
    notes = (
        *walk.notes,
        *_note(
            videos,
            "a video, which iseg does not read, was",
            "videos, which iseg does not read, were",
            "passed over",
        ),
        *_note(
            unnamed,
            "a file without an image's ending was",
            "files without an image's ending were",
            "passed over, though the content is an image: rename such files to read them",
        ),
        *_case_note(images),
    )
    return Listing(images, refused | walk.faults, notes)


class _Walk:
    """Goes through the folders below a root; keeps what is wrong with some of them."""

    def __init__(self, root: Path, left_out: Path | None) -> None:
        self._root, self._left_out = root, left_out
        self.faults: dict[str, str] = {}
        self.notes: list[str] = []

    def files(self, below: str = "", within: frozenset[Path] = frozenset()) -> Iterator[str]:
        """Yield the paths below the root, with `/`, of all that is no folder and not hidden.

        `within` are the folders on the way there: a link that leads back to one would go on for
        ever.
        """
        folder = self._root / below
        try:
            real = folder.resolve()
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self.faults[below or "."] = (
                f"the folder {folder} cannot be read ({error.strerror}); give the right to read it"
            )
            return
        if real in within:
            self.notes.append(
                f"the link {folder} leads back to a folder above it; it was passed over"
            )
            return
        if self._left_out in (real, *real.parents) or (below and _is_of_predictions(folder)):
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = below + entry.name
            if _is_folder(entry):
                yield from self.files(f"{name}/", within | {real})
            elif not self._is_link_to_truth(entry):
                yield name

    def _is_link_to_truth(self, entry: "os.DirEntry[str]") -> bool:
        if self._left_out is None or not entry.is_symlink():
            return False
        try:
            return self._left_out in Path(entry.path).resolve().parents
        except (OSError, RuntimeError):  # a link that leads to itself
            return False


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: reported as an image if it is named like one
        return False


def _is_of_predictions(folder: Path) -> bool:
    """Tell whether a folder holds what a run wrote."""
    return all(any(folder.glob(name)) for name in _OF_A_RUN)


def _id_of(name: str) -> str:
    """Return a file's path without its ending."""
    return os.path.splitext(name)[0]


def _clashes(by_id: Mapping[str, Sequence[str]], root: Path) -> dict[str, str]:
    """Return the files whose masks other masks would replace or hinder, each with a sentence."""
    clashes: dict[str, str] = {}
    folders = {str(parent) for image_id in by_id for parent in PurePosixPath(image_id).parents}
    for image_id, names in by_id.items():
        if len(names) > 1:
            files = " and ".join(str(root / name) for name in names)
            reason = f"{files} would be written to one mask {image_id}.png; rename all but one"
            clashes |= dict.fromkeys(names, reason)
        elif f"{image_id}.png" in folders:
            clashes[names[0]] = (
                f"{root / names[0]} would be written to {image_id}.png, where the masks of a "
                "folder of that name belong; rename one of the two"
            )
    return clashes


def _key(name: str, taken: Collection[str], *, prefer_path: bool) -> str:
    """Return what a refused file is reported as: its id, unless that may mean another file."""
    key = name if prefer_path or _id_of(name) in taken else _id_of(name)
    return f"{key} (file)" if key in taken else key


def _note(names: list[str], one: str, many: str, what: str) -> tuple[str, ...]:
    if not names:
        return ()
    subject = one if len(names) == 1 else f"{len(names)} {many}"
    return (f"{subject} {what} ({named(names)})",)


def named(names: Iterable[str]) -> str:
    """Return the first few of some names, and how many there are besides."""
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _case_note(images: Mapping[str, Path]) -> tuple[str, ...]:
    """Return a warning where masks would replace each other in a folder of Windows or macOS."""
    alike: dict[str, list[str]] = defaultdict(list)
    for image_id in images:
        alike[unicodedata.normalize("NFC", image_id).casefold()].append(image_id)
    pairs = [" = ".join(ids) for ids in alike.values() if len(ids) > 1]
    if not pairs:
        return ()
    return (
        f"some names differ in case or in the form of their accents alone ({named(pairs)}); on "
        "Windows and macOS their masks would replace each other",
    )
