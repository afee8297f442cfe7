"""Downloads a model from the Hugging Face hub, or finds one that was downloaded before."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, snapshot_download

from iseg_cli.backbones.weight_files import WeightFiles, choose_weights, find_weights

CONVERTER = "SFconvertbot"
"""The account of the hub that offers safetensors in pull requests to repositories without any."""


@dataclass(frozen=True)
class Layout:
    """The files of a repository that make a model.

    Attributes:
        weights: the beginning of the path of each part's weights: `unet/diffusion_pytorch_model`,
            or `model` for `model.safetensors`. They are safetensors, in one file or in several with
            an index; half precision is preferred.
        needed: patterns of the other files that a model must have. A `|` separates patterns of
            which one is enough.
        useful: patterns of files that are downloaded where they exist.
    """

    weights: tuple[str, ...]
    needed: tuple[str, ...]
    useful: tuple[str, ...] = ()

    @property
    def small(self) -> tuple[str, ...]:
        """The patterns of all files except the weights."""
        return (*(pattern for one in self.needed for pattern in one.split("|")), *self.useful)


def is_hub_id(name: str) -> bool:
    """Tell whether a name has the form of a hub id, `owner/name` or `owner/name@revision`."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w.-]+)?", name) is not None


def find_snapshot(
    repo_id: str,
    layout: Layout,
    *,
    revision: str | None = None,
    check: Callable[[Path], None] | None = None,
) -> Path:
    """Return the folder of a hub model on this machine; missing files are downloaded.

    Only safetensors and the small files of the layout are downloaded, half precision where the
    repository has it. Where the repository has no safetensors, those that the hub's converter made
    of its weights are downloaded. A model that was downloaded before needs no network.

    Args:
        repo_id: `owner/name`.
        layout: the files of the model.
        revision: a branch, tag or commit; None for the newest.
        check: is given the folder after the small files and before the weights are downloaded; an
            error that it raises ends the download.

    Raises:
        OSError: there is no such repository, no network, or no safetensors in the repository; the
            message says which.
    """
    folder = _downloaded(repo_id, layout, revision)
    if folder is not None:
        return folder
    names = _list_files(repo_id, revision)
    if check is not None:
        check(Path(_download(repo_id, revision, list(layout.small), local_files_only=False)))
    try:
        wanted = _weights(repo_id, layout, names)
    except OSError:
        converted = _converted(repo_id) if revision is None else None
        if converted is None:
            raise
        revision = converted
        wanted = _weights(repo_id, layout, _list_files(repo_id, revision))
    patterns = [*layout.small, *wanted]
    return Path(_download(repo_id, revision, patterns, local_files_only=False))


def find_file(repo_id: str, name: str, *, revision: str | None = None) -> Path:
    """Return a small file of a hub model on this machine; it is downloaded if it is missing.

    Raises:
        OSError: there is no such repository or file, or no network.
    """
    for is_local in (True, False):
        try:
            folder = Path(_download(repo_id, revision, [name], local_files_only=is_local))
        # As in _list_files: the errors differ between versions.
        except Exception:
            continue
        if (folder / name).is_file():
            return folder / name
    raise OSError(f"{repo_id} has no {name} here, and it could not be downloaded")


def is_downloaded(repo_id: str, layout: Layout, *, revision: str | None = None) -> bool:
    """Tell whether all files of a hub model are on this machine."""
    return _downloaded(repo_id, layout, revision) is not None


def _downloaded(repo_id: str, layout: Layout, revision: str | None) -> Path | None:
    for known in [revision] if revision else [None, *_pull_requests(repo_id)]:
        try:
            folder = Path(_download(repo_id, known, ["*"], local_files_only=True))
        except OSError:
            continue
        if _is_whole(folder, layout):
            return folder
    return None


def _is_whole(folder: Path, layout: Layout) -> bool:
    """Tell whether a folder has all files of a layout, every shard of the weights among them."""
    try:
        for start in layout.weights:
            part = folder / start
            find_weights(part.parent, part.name)
    except OSError:
        return False
    return all(any(any(folder.glob(p)) for p in one.split("|")) for one in layout.needed)


def _pull_requests(repo_id: str) -> Iterator[str]:
    """Yield the pull requests of a repository that were downloaded: `refs/pr/12` ..."""
    folder = Path(constants.HF_HUB_CACHE, f"models--{repo_id.replace('/', '--')}", "refs")
    for path in sorted(folder.glob("refs/pr/*")):
        yield path.relative_to(folder).as_posix()


def _download(
    repo_id: str, revision: str | None, patterns: list[str], *, local_files_only: bool
) -> str:
    return str(
        snapshot_download(
            repo_id,
            revision=revision,
            allow_patterns=patterns,
            local_files_only=local_files_only,
        )
    )


def _list_files(repo_id: str, revision: str | None) -> list[str]:
    try:
        info: Any = HfApi().model_info(repo_id, revision=revision, timeout=10)
    # The errors of a missing network or repository differ between versions of the hub's client and
    # of its HTTP library.
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from None
    return [sibling.rfilename for sibling in info.siblings]


def _converted(repo_id: str) -> str | None:
    """Return the converter's open pull request to a repository, such as `refs/pr/12`, or None.

    Pull requests of other accounts are not used: anybody may open one with weights of any kind.
    """
    try:
        offers = HfApi().get_repo_discussions(
            repo_id, author=CONVERTER, discussion_type="pull_request", discussion_status="open"
        )
        return next((o.git_reference for o in offers if o.author == CONVERTER), None)
    except Exception:  # as above; the caller then says that there are no safetensors
        return None


def _weights(repo_id: str, layout: Layout, names: Sequence[str]) -> list[str]:
    """Return patterns for each part's weights, in half precision where the repository has it."""
    patterns = []
    for start in layout.weights:
        files = choose_weights(names, start)
        if files is None:
            raise OSError(f"{repo_id} has no safetensors weights for its {_part_name(start)}")
        patterns += _patterns(files)
    return patterns


def _patterns(files: WeightFiles) -> list[str]:
    """Return the files of a part's weights: one file, or the index and the shards."""
    index = [] if files.index is None else [files.index]
    return [*index, *files.shards]


def _part_name(start: str) -> str:
    return start.rpartition("/")[0] or start
