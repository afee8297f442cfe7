"""Weights from safetensors files, refused unless they are whole; and a digest of weights."""

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from iseg_cli.backbones.weight_files import find_weights, read_object

_OTHER_SHAPE = re.compile(
    r"because (\S+) expected shape (?:torch\.Size\()?\[([\d, ]*)\]\)?, "
    r"but got (?:torch\.Size\()?\[([\d, ]*)\]"
)
"""The message of diffusers for a weight whose shape is not that of the configuration."""


def load_part(
    kind: Any,
    folder: Path,
    *,
    stem: str = "diffusion_pytorch_model",
    unused: tuple[str, ...] = (),
    **kwargs: Any,
) -> Any:
    """Return one part of a model, loaded from its folder.

    Args:
        kind: a model class of diffusers or transformers.
        folder: it holds config.json and safetensors, in one file or several with an index; half
            precision is preferred.
        stem: the beginning of the names of the files; `model` for classes of transformers.
        unused: the beginnings of the names of weights that may be missing.
        kwargs: for `from_pretrained`.

    Raises:
        OSError: there are no safetensors, a file is missing or broken, or weights are missing or
            have other shapes.
    """
    files = find_weights(folder, stem)
    read_object(folder / "config.json")
    if issubclass(kind, PreTrainedModel):  # else weights that do not fit are logged only
        kwargs["ignore_mismatched_sizes"] = True
    try:
        with _without_reports():
            part, info = kind.from_pretrained(
                folder,
                variant=files.variant,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **kwargs,
            )
    except MemoryError:
        raise
    # For a broken file, weights of other shapes or a configuration with values of other types, the
    # libraries raise errors of any class.
    except Exception as error:
        reason = first_line(error)
        if found := _OTHER_SHAPE.search(reason):
            raise _misfit(folder, *found.groups()) from None
        raise OSError(f"{folder}: {reason}") from None
    for name, given, wanted in sorted(info.get("mismatched_keys", ())):
        raise _misfit(folder, name, ", ".join(map(str, wanted)), ", ".join(map(str, given)))
    # Both libraries fill missing weights with random numbers and only log it.
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(unused))
    if missing:
        raise OSError(f"the weights in {folder} lack {missing[0]} (of {len(missing)})")
    return part


def revision_of(source: str) -> str | None:
    """Return the commit on the hub that a model's folder holds; None for a folder of the user's."""
    folder = Path(source)
    return folder.name if folder.parent.name == "snapshots" else None


def fingerprint(modules: Iterable[torch.nn.Module]) -> str:
    """Return a short digest of some weights of every layer: it tells two models apart.

    Every layer counts, since fine-tuning often changes the attention alone.
    """
    digest = hashlib.sha256()
    for module in modules:
        for weight in module.parameters():
            some = weight.detach().flatten()[:: max(1, weight.numel() // 64)]
            digest.update(some.to("cpu", torch.float32).numpy().tobytes())
    return digest.hexdigest()[:16]


@contextmanager
def _without_reports() -> Iterator[None]:
    """Keep the libraries' logs about weights off the terminal; `load_part` raises what matters."""
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _misfit(folder: Path, weight: str, wanted: str, given: str) -> OSError:
    return OSError(
        f"the weights in {folder} do not fit its config.json: {weight} has the shape ({given}), "
        f"and ({wanted}) is expected"
    )


@contextmanager
def quietly() -> Iterator[None]:
    """Keep transformers' progress bars off the terminal; weights take a moment."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 400 characters."""
    return str(error).strip().splitlines()[0][:400] if str(error).strip() else type(error).__name__
