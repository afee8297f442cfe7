"""Settings: their schema, presets, files and options, laid over each other and validated."""

from iseg_cli.config.loading import (
    Settings,
    declared,
    describe_settings,
    given_names,
    load_settings,
    setting_names,
    to_dict,
    validate,
)

__all__ = [
    "Settings",
    "declared",
    "describe_settings",
    "given_names",
    "load_settings",
    "setting_names",
    "to_dict",
    "validate",
]
