"""From presets, files and assignments to validated Settings.

A preset (`configs/*.yaml`) names only the values that differ from the defaults, or from the preset
that it is `like`. The order of precedence is: backbone, preset, `--config` files, options, `--set`.
An unknown key is an error with a suggestion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from iseg_cli.config.backbone import DEFAULT_BACKBONE, Backbone, fill_capture, named_backbone
from iseg_cli.config.layers import Layer, given_layers, last_layer, merge, preset_layers
from iseg_cli.config.schema import Settings
from iseg_cli.errors import SettingsError, suggestion

BACKBONES = "the backbone's"
"""The default of a setting whose value belongs to the model."""


@dataclass(frozen=True)
class Resolved:
    """Settings and where each of them comes from.

    Attributes:
        settings: validated, every value written out.
        origins: dotted name -> `default`, `backbone tiny`, `preset voc`, `file mine.yaml`,
            `option --model` or `--set`.
    """

    settings: Settings
    origins: Mapping[str, str]


def load_settings(
    preset: str | None = None,
    *,
    backbone: Backbone | None = None,
    files: Sequence[Path] = (),
    overrides: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
) -> Settings:
    """Return the settings of a preset, with what a user gave laid over them.

    Args:
        preset: name of a file in `configs/` without its ending, such as `voc` or `paper/voc`.
        backbone: what is read of the model; None for the one that the model's name stands for.
        files: YAML files of the user's, later ones over earlier ones.
        overrides: settings by dotted name, from options of the command line; None values are
            left out.
        assignments: texts `refine.iterations=8`; the value is read as YAML.

    Raises:
        SettingsError: a preset or file that is missing or holds no settings, an unknown setting,
            or a value out of its range.

    Example:
        >>> settings = load_settings("voc", assignments=["refine.iterations=3"])
        >>> settings.refine.iterations, settings.capture.self_heads
        (3, (1, 2))
    """
    layers = [] if preset is None else preset_layers(preset)
    layers += given_layers(files, overrides, assignments)
    return resolve_layers(layers, backbone or named_backbone(model_in(layers))).settings


def model_in(layers: Sequence[Layer]) -> str:
    """Return the model that layers of settings name; the default one where none of them does."""
    return str(merge(layers).get("model") or DEFAULT_BACKBONE)


def resolve_layers(layers: Sequence[Layer], backbone: Backbone) -> Resolved:
    """Return the settings of some layers over a backbone's values, with the origin of each.

    A preset may name a list of heads that the backbone lacks: all heads are read then.

    Raises:
        SettingsError: an unknown setting, a value out of its range, or a list of heads that the
            user named and the backbone lacks.
    """
    values = merge(layers)
    decided = {name: last_layer(layers, name) for name in setting_names()}
    origins = {name: layer.origin for name, layer in decided.items() if layer is not None}
    capture = values.get("capture") or {}
    own = f"backbone {backbone.name}"
    if isinstance(capture, Mapping):
        named = decided["capture.heads"]
        is_missing = capture.get("heads") not in (None, *backbone.published)
        if named is not None and named.is_preset and is_missing:
            capture = {**capture, "heads": None}
            origins["capture.heads"] = own
        filled = fill_capture(capture, backbone)
        values["capture"] = filled
        for name, value in filled.items():
            if name != "heads" and (name not in capture or capture[name] != value):
                origins[f"capture.{name}"] = own
    settings = validate(values)
    return Resolved(settings, {name: origins.get(name, "default") for name in setting_names()})


def validate(values: Mapping[str, Any]) -> Settings:
    """Return Settings of a nested mapping; SettingsError tells the first thing that is wrong."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None


def to_dict(settings: Settings) -> dict[str, Any]:
    """Return the settings as plain JSON values, every default written out."""
    return settings.model_dump(mode="json")


def setting_names() -> list[str]:
    """Return the dotted name of every setting."""
    return [name for name, _ in _walk(Settings)]


def describe_settings() -> list[tuple[str, str, str]]:
    """Return (dotted name, default, meaning) of every setting, for the documentation."""
    return [(name, _default(field), field.description or "") for name, field in _walk(Settings)]


def _default(field: Any) -> str:
    return BACKBONES if field.is_required() else str(field.get_default()) or '""'


def _walk(section: type[BaseModel], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += _walk(kind, f"{prefix}{name}.")
        else:
            found.append((prefix + name, field))
    return found


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    known = setting_names()
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        sections = sorted({setting.split(".")[0] for setting in known})
        return f"unknown setting {name}{suggestion(name, known + sections)}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return message
    # Pydantic adds positions inside a setting's value to its name; they say nothing to a user.
    name = next((setting for setting in known if f"{name}.".startswith(f"{setting}.")), name)
    return f"setting {name} is {first['input']!r}: {message[0].lower()}{message[1:]}"
