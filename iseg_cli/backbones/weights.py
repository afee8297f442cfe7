"""Weights from safetensors files: whole or refused, and told apart by a digest."""

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
"""How diffusers says that a weight has another shape than the configuration."""


def load_part(
    kind: Any,
    folder: Path,
    *,
    stem: str = "diffusion_pytorch_model",
    unused: tuple[str, ...] = (),
    **kwargs: Any,
) -> Any:
    """Load one part of a model from its folder, from half-precision files where there are some.

    Args:
        kind: a model class of diffusers or transformers.
        folder: its config.json and safetensors, in one file or several with an index.
        stem: how the names of its weights begin; `model` for classes of transformers.
        unused: where the names of weights begin that may be missing.
        kwargs: for `from_pretrained`.

    Raises:
        OSError: no safetensors, a file that is missing or broken, or weights that are missing or
            of other shapes.
    """
    files = find_weights(folder, stem)
    read_object(folder / "config.json")
    if issubclass(kind, PreTrainedModel):  # else what does not fit is logged and not raised
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
    # A broken file, weights of other shapes, a configuration with values of other types: what the
    # libraries raise then is of any class.
    except Exception as error:
        reason = first_line(error)
        if found := _OTHER_SHAPE.search(reason):
            raise _misfit(folder, *found.groups()) from None
        raise OSError(f"{folder}: {reason}") from None
    for name, given, wanted in sorted(info.get("mismatched_keys", ())):
        raise _misfit(folder, name, ", ".join(map(str, wanted)), ", ".join(map(str, given)))
    # Both libraries fill what is missing with random numbers and merely log it.
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

    Every layer, since fine-tuning often changes nothing but attention.
    """
    digest = hashlib.sha256()
    for module in modules:
        for weight in module.parameters():
            some = weight.detach().flatten()[:: max(1, weight.numel() // 64)]
            digest.update(some.to("cpu", torch.float32).numpy().tobytes())
    return digest.hexdigest()[:16]


@contextmanager
def _without_reports() -> Iterator[None]:
    """Keep what the libraries log about weights off the terminal: what counts is raised here."""
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
    """Keep transformers' progress bars for weights, which take a moment, off the terminal."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, at most 400 characters of it."""
    return str(error).strip().splitlines()[0][:400] if str(error).strip() else type(error).__name__
