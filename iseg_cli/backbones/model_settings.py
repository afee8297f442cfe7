"""Which attention of a model is read: what its own preset says, or what fits its layers and heads.

A preset lists layers and heads of one model. Used with another one, how the maps are used belongs
to the preset still; what is read belongs to the model.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from iseg_cli.backbones.sources import unet_config
from iseg_cli.backbones.unet_layout import Layout, attention_layout
from iseg_cli.config import Settings, load_settings
from iseg_cli.config.schema import CaptureSettings

SD21_LAYOUT = attention_layout({"attention_head_dim": (5, 10, 20, 20)})
"""The transformer blocks of Stable Diffusion 2.1, whose heads the presets name."""

TINY = "tiny"
TINY_PRESETS = {"unsupervised": "emoji-voc-unsupervised"}
"""The preset of the embedded model for a task; that of any other is `emoji-voc`."""


@dataclass(frozen=True)
class Fitted:
    """What to read of a model in place of what a preset says.

    Attributes:
        capture: settings of the section `capture`, to lay over the preset.
        note: what is told to the user, in one sentence.
    """

    capture: dict[str, Any]
    note: str


def fit_capture(
    settings: Settings, *, preset: Settings, asked: Collection[str], layout: Layout | None
) -> Fitted | None:
    """Return what to read of a model that the preset was not made for; None where it fits.

    Args:
        settings: the preset with all that was laid over it.
        preset: the preset alone; it names the model that it was made for.
        asked: the settings, by dotted name, that the user gave; these stay as they are.
        layout: the model's transformer blocks; None where they are unknown.
    """
    if layout is None or settings.model == preset.model:
        return None
    free = [name for name in CaptureSettings.model_fields if f"capture.{name}" not in asked]
    if preset.model != TINY and dict(layout) == _tiny_layout():
        name = TINY_PRESETS.get(settings.task, "emoji-voc")
        own = load_settings(name).capture.model_dump()
        reason = f"what is read of {settings.model} is taken from the preset {name}"
    else:
        own = _fitting(settings.capture, layout)
        reason = (
            f"{settings.model} has other layers or heads than the model that the preset names, so "
            "what is read of it is chosen anew"
        )
    before = settings.capture.model_dump()
    changed = {name: own[name] for name in free if name in own and own[name] != before[name]}
    if not changed:
        return None
    names = ", ".join(f"capture.{name}" for name in changed)
    return Fitted(changed, f"{reason}: {names}")


def model_layout(name: str) -> Layout | None:
    """Return the transformer blocks of a model by name, told from its configuration.

    Returns:
        None where the configuration is not to be had or makes no model; loading says why then.
    """
    if name == "sd2.1-base":
        return SD21_LAYOUT
    config = unet_config(name)
    try:
        return None if config is None else attention_layout(config)
    except ValueError:
        return None


def usual_settings(model: str) -> Settings:
    """Return the settings for a model where no dataset is named: `emoji-voc` for tiny, else `voc`.

    What is read is fitted to the model.
    """
    if model == TINY:
        return load_settings("emoji-voc")
    named = {"model": model}
    settings = load_settings("voc", overrides=named)
    fitted = fit_capture(
        settings, preset=load_settings("voc"), asked=(), layout=model_layout(model)
    )
    if fitted is None:
        return settings
    return load_settings("voc", model_values={"capture": fitted.capture}, overrides=named)


def _fitting(capture: CaptureSettings, layout: Layout) -> dict[str, Any]:
    """Return the layers of a preset that a model has, and all of its heads unless it has SD 2.1's.

    Where none of the layers of a resolution is there, all of the model's own at it are read; where
    the layer of self-attention is not, the last one at the finest grid.
    """
    chosen: dict[str, Any] = {}
    layers = [name for name in capture.cross_layers if name in layout]
    read = {layout[name].divisor for name in layers}
    wanted = {divisor for divisor, weight in capture.cross_weights.items() if weight}
    if wanted - read:
        layers = [
            name
            for name, block in layout.items()
            if name in layers or block.divisor in wanted - read
        ]
    if tuple(layers) != tuple(capture.cross_layers):
        chosen["cross_layers"] = tuple(layers)
    own = capture.self_layer
    if own not in layout and layout:
        finest = min(block.level for block in layout.values())
        own = [name for name, block in layout.items() if block.level == finest][-1]
        chosen["self_layer"] = own
    if not _has_heads_of_sd21([*layers, own], layout):
        chosen |= {"cross_heads": {}, "self_heads": None}
    return chosen


def _has_heads_of_sd21(layers: Collection[str], layout: Layout) -> bool:
    return all(layout.get(name) == SD21_LAYOUT.get(name) for name in layers)


def _tiny_layout() -> dict[str, Any]:
    return dict(model_layout(TINY) or {})
