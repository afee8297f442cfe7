"""Which backbone a model is: told by its name, or by the layers and heads of its UNet.

So a model in a folder or on the hub is read as the backbone that it is a copy or a fine-tuned
version of. A model that is like none of them is read with all heads of the layers that fit.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from iseg_cli.backbones.single_files import lora_files
from iseg_cli.backbones.sources import unet_config
from iseg_cli.backbones.unet_layout import Layout, attention_layout
from iseg_cli.config import Settings, load_settings
from iseg_cli.config.backbone import (
    DEFAULT_BACKBONE,
    Backbone,
    BackboneCapture,
    backbone_names,
    read_backbone,
)


def find_backbone(model: str, *, tell: Callable[[str], None] = lambda note: None) -> Backbone:
    """Return what is read of a model.

    Args:
        model: the name of a backbone, a folder or a hub id. Of a hub model the configuration of
            its UNet is downloaded, a small file.
        tell: is given a sentence for each thing about the model that a user should know.

    Returns:
        The default backbone for a model whose configuration cannot be read; loading the model
        says why.
    """
    if model in backbone_names():
        return read_backbone(model)
    for path in lora_files(Path(model)):
        tell(f"{path} holds LoRA weights, which are not read")
    config = unet_config(model)
    if config is None:
        return read_backbone(DEFAULT_BACKBONE)
    try:
        layout = attention_layout(config)
    except ValueError:
        return read_backbone(DEFAULT_BACKBONE)
    known = match_layout(layout)
    if known is not None:
        return known
    tell(
        f"{model} has the layers or heads of no backbone that iseg knows; all heads of the layers "
        "that fit are read (iseg config show lists them)"
    )
    return fit_layers(model, layout)


def match_layout(layout: Layout) -> Backbone | None:
    """Return the backbone whose UNet has these transformer blocks; None where there is none."""
    backbones = map(read_backbone, backbone_names())
    return next((b for b in backbones if attention_layout(b.unet) == dict(layout)), None)


def fit_layers(model: str, layout: Layout) -> Backbone:
    """Return a backbone made for a model whose layers or heads are those of no known one.

    The layers of the default backbone that the model has are read. Where the model has none of
    them at a resolution, all of its layers at that resolution are read; where it lacks the layer
    of the self-attention, its last layer at the finest grid is read. Published heads are kept
    where the layers that are read have the heads of the default backbone.

    Args:
        model: its name.
        layout: its transformer blocks.
    """
    default = read_backbone(DEFAULT_BACKBONE)
    own = default.capture
    layers = [name for name in own.cross_layers if name in layout]
    wanted = {divisor for divisor, weight in own.cross_weights.items() if weight}
    lacking = wanted - {layout[name].divisor for name in layers}
    if lacking:
        layers = [n for n, block in layout.items() if n in layers or block.divisor in lacking]
    self_layer = own.self_layer
    if self_layer not in layout and layout:
        finest = min(block.level for block in layout.values())
        self_layer = [name for name, block in layout.items() if block.level == finest][-1]
    capture: dict[str, Any] = {
        **own.model_dump(),
        "cross_layers": tuple(layers),
        "self_layer": self_layer,
    }
    has_same_heads = _has_heads_of(default, [*layers, self_layer], layout)
    return Backbone(
        name=model,
        capture=BackboneCapture(**capture),
        published=default.published if has_same_heads else {},
    )


def usual_settings(model: str) -> Settings:
    """Return the settings for a model where no dataset is named: `emoji-voc` for tiny, else `voc`.

    Example:
        >>> usual_settings("tiny").capture.timestep
        200
    """
    preset = "emoji-voc" if model == "tiny" else "voc"
    return load_settings(preset, overrides={"model": model}, backbone=find_backbone(model))


def _has_heads_of(backbone: Backbone, layers: Collection[str], layout: Layout) -> bool:
    known = attention_layout(backbone.unet)
    return all(layout.get(name) == known.get(name) for name in layers)
