"""Layers of settings: presets, files, options and assignments, each with its origin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from iseg_cli.config.resources import preset_path
from iseg_cli.config.schema import Settings
from iseg_cli.errors import SettingsError


@dataclass(frozen=True)
class Layer:
    """Some settings and where they come from.

    Attributes:
        origin: `preset voc`, `file mine.yaml`, `option --model`, `--set`.
        values: the settings, nested by section.
        is_preset: whether they belong to iseg and not to the user.
    """

    origin: str
    values: Mapping[str, Any]
    is_preset: bool = False


def preset_layers(name: str) -> list[Layer]:
    """Return what a preset says, above the presets that it is `like`."""
    content = read_yaml(preset_path(name))
    below = content.pop("like", None)
    layer = Layer(f"preset {name}", content, is_preset=True)
    return [layer] if below is None else [*preset_layers(below), layer]


def given_layers(
    files: Sequence[Path] = (),
    overrides: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
) -> list[Layer]:
    """Return what a user gave, in the order of precedence: files, options, assignments.

    Args:
        files: YAML files, later ones over earlier ones.
        overrides: settings by dotted name, from options of the command line; None values are
            left out.
        assignments: texts such as `refine.iterations=8`; the value is read as YAML.

    Raises:
        SettingsError: a file that cannot be read, or a text that assigns nothing.
    """
    layers = [Layer(f"file {file}", read_yaml(file)) for file in files]
    for name, value in (overrides or {}).items():
        if value is not None:
            option = name.rpartition(".")[2].replace("_", "-")
            layers.append(Layer(f"option --{option}", _nested(name, value)))
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator or not name.strip():
            raise SettingsError(f"--set {assignment} is no assignment; write --set NAME=VALUE")
        layers.append(Layer("--set", _nested(name.strip(), _parse_value(assignment, text))))
    return layers


def merge(layers: Sequence[Layer]) -> dict[str, Any]:
    """Return the settings of all layers, later ones over earlier ones."""
    merged: dict[str, Any] = {}
    for layer in layers:
        _overlay(merged, layer.values)
    return merged


def last_layer(layers: Sequence[Layer], name: str) -> Layer | None:
    """Return the layer that decides a setting, by its dotted name; None where no layer names it."""
    path = name.split(".")
    return next((layer for layer in reversed(layers) if _holds(layer.values, path)), None)


def declared(name: str, files: Sequence[Path]) -> str | None:
    """Return the value of a setting such as `dataset` in the last file that names it, or None."""
    values = [read_yaml(file).get(name) for file in reversed(files)]
    return next((str(value) for value in values if value is not None), None)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the settings in a YAML file; SettingsError where it holds none."""
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


def _holds(values: Any, path: Sequence[str]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


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
