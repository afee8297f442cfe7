"""From presets, files and assignments to validated Settings.

A preset (`configs/*.yaml`) names only what differs from the defaults, or from the preset that it is
`like`; `--config` files and `--set` assignments are laid over it. An unknown key is an error with a
suggestion.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from iseg_cli.config.resources import preset_path
from iseg_cli.config.schema import Settings
from iseg_cli.errors import SettingsError, suggestion

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


def load_settings(
    preset: str | None = None,
    *,
    model_values: Mapping[str, Any] | None = None,
    files: Sequence[Path] = (),
    overrides: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
) -> Settings:
    """Lay the sources over the defaults, later ones over earlier ones, and validate the result.

    Args:
        preset: name of a file in `configs/` without its ending, such as `voc` or `paper/voc`.
        model_values: what suits the model where the preset was made for another one, nested by
            section; laid over the preset alone.
        files: YAML files of the user's, in the order in which they apply.
        overrides: settings by dotted name, from command-line options; None values are passed over.
        assignments: texts `refine.iterations=8`; the value is read as YAML.

    Raises:
        SettingsError: a preset or file that is missing or is not a mapping, an unknown setting, or
            a value out of its range.
    """
    merged: dict[str, Any] = {}
    if preset is not None:
        merged = _read_preset(preset)
    _overlay(merged, model_values or {})
    _overlay_given(merged, files, overrides or {}, assignments)
    return validate(merged)


def given_names(
    *,
    files: Sequence[Path] = (),
    overrides: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
) -> frozenset[str]:
    """Return the dotted names of the settings that a user gave: all of them but the preset's."""
    merged: dict[str, Any] = {}
    _overlay_given(merged, files, overrides or {}, assignments)
    return frozenset(name for name in setting_names() if _holds(merged, name.split(".")))


def _holds(values: Any, path: Sequence[str]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _overlay_given(
    merged: dict[str, Any],
    files: Sequence[Path],
    overrides: Mapping[str, Any],
    assignments: Sequence[str],
) -> None:
    """Lay what a user gave over other values in place: files, options, assignments."""
    for file in files:
        _overlay(merged, _read_yaml(file))
    for name, value in overrides.items():
        if value is not None:
            _overlay(merged, _nested(name, value))
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator or not name.strip():
            raise SettingsError(f"--set {assignment} is no assignment; write --set NAME=VALUE")
        _overlay(merged, _nested(name.strip(), _parse_value(assignment, text)))


def declared(name: str, files: Sequence[Path]) -> str | None:
    """Return what YAML files say for a setting such as `dataset`, the last first, or None."""
    values = [_read_yaml(file).get(name) for file in reversed(files)]
    return next((str(value) for value in values if value is not None), None)


def validate(values: Mapping[str, Any]) -> Settings:
    """Build Settings from a nested mapping; SettingsError tells the first thing that is wrong."""
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
    return [
        (name, str(field.get_default()) or '""', field.description or "")
        for name, field in _walk(Settings)
    ]


def _walk(section: type[BaseModel], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += _walk(kind, f"{prefix}{name}.")
        else:
            found.append((prefix + name, field))
    return found


def _read_preset(name: str) -> dict[str, Any]:
    """Return what a preset says, laid over the preset that it names as `like`."""
    content = _read_yaml(preset_path(name))
    below = content.pop("like", None)
    if below is None:
        return content
    merged = _read_preset(below)
    _overlay(merged, content)
    return merged


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path} holds no settings; write lines such as `seed: 1101`")
    return content


def _parse_value(assignment: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise SettingsError(f"the value in --set {assignment} is not valid YAML") from None


def _nested(name: str, value: Any) -> dict[str, Any]:
    for part in reversed(name.split(".")):
        value = {part: value}
    return dict(value)


def _overlay(
    below: dict[str, Any], above: Mapping[str, Any], section: type[BaseModel] = Settings
) -> None:
    """Lay `above` over `below` in place: sections merge, any other value is replaced.

    A setting that holds a mapping (`capture.cross_weights`) is one value, not a section.
    """
    for name, value in above.items():
        kind = section.model_fields[name].annotation if name in section.model_fields else None
        if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, Mapping):
            merged = dict(below[name]) if isinstance(below.get(name), Mapping) else {}
            _overlay(merged, value, kind)
            below[name] = merged
        else:
            below[name] = value


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
    # Behind a setting's name pydantic adds places inside its value, which say nothing to a user.
    name = next((setting for setting in known if f"{name}.".startswith(f"{setting}.")), name)
    return f"setting {name} is {first['input']!r}: {message[0].lower()}{message[1:]}"
