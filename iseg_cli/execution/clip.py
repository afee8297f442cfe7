"""CLIP on this machine: from settings to the model and to what finds classes in images."""

from typing import Any

from iseg_cli.backbones.loading import choose_device, choose_dtype
from iseg_cli.clip.loading import ClipModel, load_clip
from iseg_cli.clip.tagger import Tagger
from iseg_cli.config import Settings
from iseg_cli.types import LabelSet


def open_clip(settings: Settings) -> ClipModel:
    """Load the CLIP of the settings.

    Raises:
        ModelNotFoundError: it is nowhere to be had.
        SettingsError: no such device.
    """
    device = choose_device(settings.runtime.device)
    return load_clip(
        settings.clip.model, device=device, dtype=choose_dtype(settings.clip.dtype, device)
    )


def open_tagger(
    settings: Settings, label_set: LabelSet, *, batch_size: int, clip: ClipModel | None = None
) -> Tagger:
    """Embed the classes of a label set with the CLIP of the settings.

    Args:
        settings: CLIP's and the machine's.
        label_set: the classes to look for.
        batch_size: images or crops at a time.
        clip: that of the settings, where it is loaded already.

    Raises:
        ModelNotFoundError: the CLIP is nowhere to be had.
        SettingsError: no such device, no classes, or settings that do not fit this CLIP.
        PromptError: words that are too long for its text encoder.
    """
    return Tagger(clip or open_clip(settings), settings.clip, label_set, batch_size=batch_size)


def describe_clip(clip: ClipModel) -> dict[str, Any]:
    """Return what tells a CLIP from others, for the records of a run."""
    return {"name": clip.name, "revision": clip.revision, "fingerprint": clip.fingerprint()}
