"""Settings: their schema, backbones, presets, files and options.

`resolve` lays them over each other and says where each value comes from.
"""

from iseg_cli.config.layers import declared
from iseg_cli.config.loading import (
    describe_settings,
    load_settings,
    setting_names,
    to_dict,
    validate,
)
from iseg_cli.config.schema import Settings

__all__ = [
    "Settings",
    "declared",
    "describe_settings",
    "load_settings",
    "setting_names",
    "to_dict",
    "validate",
]
