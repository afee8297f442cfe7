"""What is read of a backbone: the files `configs/backbones/*.yaml`, validated."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from iseg_cli.config.method import Divisor, Heads
from iseg_cli.config.resources import PACKAGE, data_folder
from iseg_cli.config.section import Section
from iseg_cli.errors import SettingsError, suggestion

DEFAULT_BACKBONE = "sd2.1-base"
"""The model where none is named. A model of unknown layers is read as this one."""

_VALUES = ("timestep", "cross_layers", "cross_weights", "self_layer")
"""The settings of `capture` whose null stands for the backbone's value."""


class HeadList(Section):
    """The heads that somebody published for a dataset and a backbone."""

    cross_heads: Mapping[Divisor, Heads] = {}
    self_heads: Heads | None = None


class BackboneCapture(Section):
    """The layers of a backbone that are read, and at which noise level."""

    timestep: int
    cross_layers: tuple[str, ...]
    cross_weights: Mapping[Divisor, Annotated[float, Field(ge=0)]]
    self_layer: str


class Backbone(Section):
    """A model as `configs/backbones/<name>.yaml` describes it.

    Attributes:
        name: as `--model` takes it.
        hub: hub ids with its weights, in the order in which they are tried.
        embedded: its folder in `iseg_cli/models`, for a model that ships with iseg.
        image_size: the side of its square images in pixels.
        unet: the values of unet/config.json that tell its layers and heads, where they differ from
            the defaults of diffusers.
        capture: what is read of it.
        published: dataset -> heads; all heads are read where no list is asked for.
    """

    name: str
    hub: tuple[str, ...] = ()
    embedded: str | None = None
    image_size: int | None = None
    unet: Mapping[str, Any] = {}
    capture: BackboneCapture
    published: Mapping[str, HeadList] = {}

    @property
    def folder(self) -> Path | None:
        """The folder of a model that ships with iseg, None for any other."""
        return None if self.embedded is None else PACKAGE / "models" / self.embedded

    def heads(self, name: str | None) -> HeadList:
        """Return a published list of heads; all heads for None.

        Raises:
            SettingsError: nobody published a list of that name for this backbone.
        """
        if name is None:
            return HeadList()
        if name not in self.published:
            known = ", ".join(self.published)
            raise SettingsError(
                f"capture.heads is {name}, but the backbone {self.name} has "
                + (f"lists of heads for {known} only" if known else "no published lists of heads")
                + f"{suggestion(name, self.published)}; null reads all heads"
            )
        return self.published[name]


def backbone_names() -> list[str]:
    """Return the names of all backbones, in alphabetical order.

    Example:
        >>> "tiny" in backbone_names()
        True
    """
    return sorted(path.stem for path in (data_folder("configs") / "backbones").glob("*.yaml"))


@cache
def read_backbone(name: str) -> Backbone:
    """Return a backbone by name.

    Example:
        >>> read_backbone("sd2.1-base").capture.timestep
        100
    """
    path = data_folder("configs") / "backbones" / f"{name}.yaml"
    return Backbone(name=name, **yaml.safe_load(path.read_text("utf-8")))


def named_backbone(model: str) -> Backbone:
    """Return the backbone that a model's name stands for; the default one for any other model."""
    return read_backbone(model if model in backbone_names() else DEFAULT_BACKBONE)


def fill_capture(given: Mapping[str, Any], backbone: Backbone) -> dict[str, Any]:
    """Return the values of the section `capture`, completed with those of a backbone.

    Args:
        given: some values of the section. They stay, except for a null that stands for the
            backbone's value.
        backbone: where the other values come from.

    Raises:
        SettingsError: `heads` names a list that the backbone lacks.
    """
    filled = dict(given)
    own = backbone.capture.model_dump()
    filled |= {name: own[name] for name in _VALUES if filled.get(name) is None}
    filled.setdefault("heads", None)
    if {"cross_heads", "self_heads"} - filled.keys():
        chosen = backbone.heads(filled["heads"]).model_dump()
        filled = {**chosen, **filled}
    return filled
