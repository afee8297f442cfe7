"""Which files hold the weights of a part of a model, and whether all of them are there.

A part is one file, or several files (shards) with an index that says which file has which weight.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIANTS = ("fp16", None)
"""Half precision comes first: half the bytes are read; loading casts weights in any case."""

_LENGTH = 8  # bytes of a safetensors file that hold the length of its header
_LONGEST_HEADER = 100_000_000  # bytes, the limit of safetensors itself
_LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class WeightFiles:
    """The safetensors files of one part.

    Attributes:
        variant: `fp16` for weights in half precision, or None.
        index: the name of the index of a part in several files; None for a single file.
        shards: the names of the files themselves.
    """

    variant: str | None
    index: str | None
    shards: tuple[str, ...]


def choose_weights(names: Collection[str], stem: str) -> WeightFiles | None:
    """Return the files of a part's weights, in half precision where there are such files.

    Args:
        names: the files that exist; with their folder if the stem has one.
        stem: the beginning of the names of the part's weights, such as `diffusion_pytorch_model`.

    Returns:
        None where no file has a name that diffusers or transformers would look for. Numbered files
        without an index are returned without one.
    """
    for variant in VARIANTS:
        suffix = "" if variant is None else f".{variant}"
        index = f"{stem}.safetensors.index{suffix}.json"
        numbered = re.compile(rf"{re.escape(stem + suffix)}-\d+-of-\d+\.safetensors")
        shards = tuple(sorted(name for name in names if numbered.fullmatch(name)))
        if index in names:
            return WeightFiles(variant, index, shards)
        single = f"{stem}{suffix}.safetensors"
        if single in names:
            return WeightFiles(variant, None, (single,))
        if shards:
            return WeightFiles(variant, None, shards)
    return None


def find_weights(folder: Path, stem: str) -> WeightFiles:
    """Return the files of a part in a folder, after a check that each is there and whole.

    Raises:
        OSError: there are no safetensors weights, or an index or shard is missing or cut short; the
            message names it.
    """
    files = _present_weights(folder, stem)
    for name in files.shards:
        _require_whole(folder / name)
    return files


def _present_weights(folder: Path, stem: str) -> WeightFiles:
    """Return the files of a part in a folder; OSError where one of them is missing."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    chosen = choose_weights(names, stem)
    if chosen is None:
        raise OSError(f"{folder} has no safetensors weights{_others(names)}")
    if chosen.index is None:
        if len(chosen.shards) > 1 or chosen.shards[0].count("-of-"):
            suffix = "" if chosen.variant is None else f".{chosen.variant}"
            raise OSError(
                f"{folder / f'{stem}.safetensors.index{suffix}.json'} is missing, the index of the "
                f"{len(chosen.shards)} files of weights beside it"
            )
        return chosen
    shards = _listed(folder / chosen.index)
    missing = sorted(shards - names)
    if missing:
        raise OSError(
            f"{folder / missing[0]} is missing ({len(missing)} of {len(shards)} files of weights "
            f"that {chosen.index} lists)"
        )
    return WeightFiles(chosen.variant, chosen.index, tuple(sorted(shards)))


def read_object(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        OSError: there is no such file, or it holds no JSON object; the message names the file.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise OSError(f"{path} is missing") from None
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise OSError(f"{path} is not valid JSON") from None
    if not isinstance(content, dict):
        raise OSError(f"{path} must hold a JSON object, but it holds {json.dumps(content)[:40]}")
    return content


def _require_whole(path: Path) -> None:
    """Raise OSError for a safetensors file that is cut short, damaged or a pointer of Git LFS.

    The file begins with the length of its header; the header says where the last weight ends.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_LENGTH)
            length = int.from_bytes(start, "little")
            is_header = len(start) == _LENGTH and length <= min(size - _LENGTH, _LONGEST_HEADER)
            header = _header(file.read(length)) if is_header else None
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror}") from None
    if _LFS.startswith(start) and start:
        raise OSError(
            f"{path} is a pointer of Git LFS, not weights; run git lfs pull in its folder"
        )
    if header is None or _LENGTH + length + _end_of_data(header) != size:
        raise OSError(f"{path} is cut short or damaged; download it again")


def _header(data: bytes) -> dict[str, Any] | None:
    """Return the header of a safetensors file; None where the bytes are no header."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _end_of_data(header: dict[str, Any]) -> int:
    """Return how many bytes follow a header; -1 where the header does not tell."""
    weights = [value for name, value in header.items() if name != "__metadata__"]
    try:
        return max((int(weight["data_offsets"][1]) for weight in weights), default=0)
    except (TypeError, KeyError, IndexError, ValueError, OverflowError):
        return -1


def _listed(index: Path) -> set[str]:
    """Return the names of the files that an index lists."""
    weight_map = read_object(index).get("weight_map")
    names = set(map(_text, weight_map.values())) if isinstance(weight_map, dict) else set()
    if not names or "" in names:
        raise OSError(f"{index} lists no files of weights (weight_map)")
    return names


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _others(names: Collection[str]) -> str:
    """Return which other weights a folder without safetensors has, for the message."""
    pickled = sorted(name for name in names if name.endswith((".bin", ".ckpt", ".pt", ".pth")))
    if pickled:
        return f", only {pickled[0]}: files of that kind may run code and are not loaded"
    other = sorted(name for name in names if name.endswith(".safetensors"))
    return f" of a name that is looked for, only {other[0]}" if other else ""
