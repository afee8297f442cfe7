"""CLIP of the settings: the model, and the tagger that finds classes in images."""

from typing import Any

from iseg_cli.backbones.loading import choose_device, choose_dtype
from iseg_cli.clip.loading import ClipModel, load_clip
from iseg_cli.clip.tagger import Tagger
from iseg_cli.config import Settings
from iseg_cli.types import LabelSet


def open_clip(settings: Settings) -> ClipModel:
    """Return the CLIP of the settings, loaded.

    Raises:
        ModelNotFoundError: it cannot be found or loaded.
        SettingsError: no such device.
    """
    device = choose_device(settings.runtime.device)
    return load_clip(
        settings.clip.model, device=device, dtype=choose_dtype(settings.clip.dtype, device)
    )


def open_tagger(
    settings: Settings, label_set: LabelSet, *, batch_size: int, clip: ClipModel | None = None
) -> Tagger:
    """Return a tagger for the classes of a label set, with the CLIP of the settings.

    Args:
        settings: those of CLIP and of the machine are used.
        label_set: the classes to look for.
        batch_size: images or crops in a batch.
        clip: the CLIP of the settings, if it is loaded; None to load it.

    Raises:
        ModelNotFoundError: the CLIP cannot be found or loaded.
        SettingsError: no such device, no classes, or settings that do not fit this CLIP.
        PromptError: the words of a class are too long for its text encoder.
    """
    return Tagger(clip or open_clip(settings), settings.clip, label_set, batch_size=batch_size)


def describe_clip(clip: ClipModel) -> dict[str, Any]:
    """Return the name, revision and fingerprint of a CLIP, for the provenance of a run."""
    return {"name": clip.name, "revision": clip.revision, "fingerprint": clip.fingerprint()}
