"""Brings a model from the Hugging Face hub, or finds it where it was brought before."""

from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download

PARTS = ("vae", "text_encoder", "unet")
SMALL_FILES = ("tokenizer/*", "scheduler/*", *(f"{part}/config.json" for part in PARTS))


def find_snapshot(repo_id: str, *, revision: str | None = None) -> Path:
    """Return the folder of a hub model on this machine, downloading what is missing.

    Half-precision safetensors are taken where the repository has them, else full ones; nothing but
    these, the tokenizer and the configurations is downloaded. A model that was downloaded before
    needs no network.

    Raises:
        OSError: there is no such repository, no network, or no safetensors in it; the message says
            which.
    """
    folder = _downloaded(repo_id, revision)
    if folder is not None:
        return folder
    names = _list_files(repo_id, revision)
    wanted = [_weights(repo_id, part, names) for part in PARTS]
    return Path(_download(repo_id, revision, [*SMALL_FILES, *wanted], local_files_only=False))


def is_downloaded(repo_id: str, *, revision: str | None = None) -> bool:
    """Tell whether a hub model is on this machine, whole."""
    return _downloaded(repo_id, revision) is not None


def _downloaded(repo_id: str, revision: str | None) -> Path | None:
    try:
        folder = Path(_download(repo_id, revision, ["*"], local_files_only=True))
    except OSError:
        return None
    needed = [f"{part}/*.safetensors" for part in PARTS] + list(SMALL_FILES)
    return folder if all(any(folder.glob(pattern)) for pattern in needed) else None


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
    # What a missing network or repository raises differs between versions of the hub's client and
    # of the HTTP library beneath it.
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from None
    return [sibling.rfilename for sibling in info.siblings]


def _weights(repo_id: str, part: str, names: list[str]) -> str:
    """Return the pattern of one part's weights, in half precision if the repository has them so."""
    for ending in (".fp16.safetensors", ".safetensors"):
        if any(name.startswith(f"{part}/") and name.endswith(ending) for name in names):
            return f"{part}/*{ending}"
    raise OSError(f"{repo_id} has no safetensors weights for its {part}")
