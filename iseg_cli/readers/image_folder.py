"""Lists a folder of images: images by id, images that cannot be used, and notes on other files."""

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
"""The files of an output folder, whose PNGs are no images; a shard has its own records."""

_OTHERS = (
    ".txt .json .jsonl .xml .csv .tsv .yaml .yml .md .html .htm .pdf .npy .npz .mat .pkl .pt .h5 "
    ".zip .tar .gz .7z .db .ini .log .py .url .lnk .aae .xmp .pp3 .thm .lrv .wav .mp3"
)
_NO_PICTURES = frozenset(_OTHERS.split())
"""Extensions of files that are often beside images; other unknown files are opened."""

_NAMED = 3
"""The number of files that a sentence names."""


@dataclass(frozen=True)
class Listing:
    """The files below a folder.

    Attributes:
        images: the file of each image, by its path below the folder without the extension.
        refused: a sentence about each image or folder that cannot be used, by its id, or by its
            path if another image has the id.
        notes: what was skipped, one sentence each.
    """

    images: dict[str, Path]
    refused: dict[str, str]
    notes: tuple[str, ...]


def list_images(root: Path, *, leaving_out: Path | None = None) -> Listing:
    """Return the images below a folder, sorted by name; links to folders are followed.

    Names that begin with a dot and output folders are skipped. Images with one id are all refused,
    because they have one mask.

    Args:
        root: the folder.
        leaving_out: a folder to skip: the folder of ground truth.
    """
    walk = _FolderWalk(root, None if leaving_out is None else leaving_out.resolve())
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


class _FolderWalk:
    """Lists the files below a root; keeps the faults of folders."""

    def __init__(self, root: Path, left_out: Path | None) -> None:
        self._root, self._left_out = root, left_out
        self.faults: dict[str, str] = {}
        self.notes: list[str] = []

    def files(self, below: str = "", within: frozenset[Path] = frozenset()) -> Iterator[str]:
        """Yield the paths of all visible files below the root, with `/`.

        `within` are the folders above: a link back to one of them would be followed for ever.
        """
        folder = self._root / below
        try:
            real = folder.resolve()
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self.faults[below or "."] = (
                f"the folder {folder} cannot be read ({error.strerror}); change its permissions"
            )
            return
        if real in within:
            self.notes.append(f"the link {folder} leads back to a folder above it; it was skipped")
            return
        if self._left_out in (real, *real.parents) or (below and _is_of_predictions(folder)):
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = below + entry.name
            if _is_folder(entry):
                yield from self.files(f"{name}/", within | {real})
            elif not self._is_link_to_ground_truth(entry):
                yield name

    def _is_link_to_ground_truth(self, entry: "os.DirEntry[str]") -> bool:
        if self._left_out is None or not entry.is_symlink():
            return False
        try:
            return self._left_out in Path(entry.path).resolve().parents
        except (OSError, RuntimeError):  # a link to itself
            return False


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; with the extension of an image it is reported
        return False


def _is_of_predictions(folder: Path) -> bool:
    """Return whether a folder is the output folder of a run."""
    return all(any(folder.glob(name)) for name in _OF_A_RUN)


def _id_of(name: str) -> str:
    """Return the path of a file without its extension."""
    return os.path.splitext(name)[0]


def _clashes(by_id: Mapping[str, Sequence[str]], root: Path) -> dict[str, str]:
    """Return a sentence about each file whose mask would have the path of another one."""
    clashes: dict[str, str] = {}
    folders = {str(parent) for image_id in by_id for parent in PurePosixPath(image_id).parents}
    for image_id, names in by_id.items():
        if len(names) > 1:
            files = " and ".join(str(root / name) for name in names)
            reason = f"{files} would be written to one mask {image_id}.png; rename all but one"
            clashes |= dict.fromkeys(names, reason)
        elif f"{image_id}.png" in folders:
            clashes[names[0]] = (
                f"the mask of {root / names[0]} would be {image_id}.png, but a folder has that "
                "name; rename one of the two"
            )
    return clashes


def _key(name: str, taken: Collection[str], *, prefer_path: bool) -> str:
    """Return the name of a refused file in reports: its id, unless another file has it."""
    key = name if prefer_path or _id_of(name) in taken else _id_of(name)
    return f"{key} (file)" if key in taken else key


def _note(names: list[str], one: str, many: str, what: str) -> tuple[str, ...]:
    if not names:
        return ()
    subject = one if len(names) == 1 else f"{len(names)} {many}"
    return (f"{subject} {what} ({named(names)})",)


def named(names: Iterable[str]) -> str:
    """Return the first few names, and the number of the others."""
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _case_note(images: Mapping[str, Path]) -> tuple[str, ...]:
    """Return a note if masks would replace each other on Windows or macOS."""
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
