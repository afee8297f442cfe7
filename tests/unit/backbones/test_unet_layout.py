"""The layout of a UNet, told from its configuration alone."""

import inspect

from diffusers import UNet2DConditionModel

from iseg_cli.backbones.unet_layout import DEFAULTS


def test_the_defaults_are_those_of_diffusers() -> None:
    parameters = inspect.signature(UNet2DConditionModel.__init__).parameters
    assert {name: parameters[name].default for name in DEFAULTS} == dict(DEFAULTS)
