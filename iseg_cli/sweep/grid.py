"""The grid of a sweep: texts such as `refine.iterations=0:12` become validated settings."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from iseg_cli.config import Settings, setting_names, to_dict, validate
from iseg_cli.errors import SettingsError, suggestion

VARIED = ("prompt", "cat_cross", "capture", "cluster", "ent_self", "refine", "assign", "seed")
"""The sections of settings that a grid may vary."""

BASE = "base"
"""The name of the settings without any change."""

_RANGE = re.compile(r"(-?\d+):(-?\d+)(?::(-?\d+))?")


@dataclass(frozen=True)
class Axis:
    """One setting and its values, in JSON types."""

    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Point:
    """One cell of a grid.

    Attributes:
        key: its name: what differs from the base, whatever the grid around it.
        values: the values of the axes, by name.
        settings: the base with these values.
    """

    key: str
    values: Mapping[str, Any]
    settings: Settings


@dataclass(frozen=True)
class Grid:
    """The product of some axes; the last one changes fastest."""

    axes: tuple[Axis, ...]
    points: tuple[Point, ...]


def build_grid(base: Settings, texts: Sequence[str], *, seeds: int | None = None) -> Grid:
    """Multiply the axes that some texts describe.

    Args:
        base: what every point has where no axis says otherwise.
        texts: `NAME=v1,v2,v3` with values in YAML, `NAME=a:b` for the integers from a to b, both
            included, `NAME=a:b:step`, or a mixture with commas.
        seeds: adds the axis seed=0, 1 ... of so many values.

    Raises:
        SettingsError: a text that is no axis, a setting that is unknown, named twice, not for a
            grid, or out of its range.
    """
    raw = [_parse_axis(text) for text in texts]
    if seeds is not None:
        raw.append(("seed", list(range(seeds))))
    names = [name for name, _ in raw]
    if not names:
        raise SettingsError(
            "a sweep needs a grid; pass --grid, such as --grid refine.iterations=0:12"
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SettingsError(f"{twice} is an axis of the grid twice; write its values in one --grid")
    written = _values(base)
    points: dict[str, Point] = {}
    for combination in itertools.product(*(values for _, values in raw)):
        settings = _with(base, dict(zip(names, combination, strict=True)))
        validated = _values(settings)
        key = _key(written, validated)
        points.setdefault(key, Point(key, {name: validated[name] for name in names}, settings))
    axes = [
        Axis(name, _distinct(point.values[name] for point in points.values())) for name in names
    ]
    return Grid(tuple(axes), tuple(points.values()))


def value_text(value: Any) -> str:
    """Return a setting's value as text: words without quotes, 0 for 0.0, others as JSON."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value)


def point_text(values: Mapping[str, Any]) -> str:
    """Return `name=value` for each of some settings, separated by blanks.

    Example:
        >>> point_text({"refine.iterations": 8, "refine.mode": "naive"})
        'refine.iterations=8 refine.mode=naive'
    """
    return " ".join(f"{name}={value_text(value)}" for name, value in values.items())


def _parse_axis(text: str) -> tuple[str, list[Any]]:
    name, separator, written = text.partition("=")
    name = name.strip()
    if not separator or not name or not written.strip():
        raise SettingsError(
            f"--grid {text} is no axis; write NAME=VALUE,VALUE or NAME=FIRST:LAST for integers"
        )
    _require_variable(name)
    values: list[Any] = []
    for item in _items(written):
        if match := _RANGE.fullmatch(item.strip()):
            values += _integers(text, *match.groups())
        else:
            values.append(_yaml(text, item))
    return name, values


def _require_variable(name: str) -> None:
    known = setting_names()
    if name not in known:
        inside = [setting for setting in known if setting.startswith(f"{name}.")]
        hint = f": name one of its settings, such as {inside[0]}" if inside else ""
        raise SettingsError(
            f"{name} is a group of settings{hint}"
            if inside
            else f"unknown setting {name}{suggestion(name, known)}"
        )
    if name == "capture.heads":
        raise SettingsError(
            "a grid cannot vary capture.heads, which only chooses a list of heads; vary "
            "capture.cross_heads and capture.self_heads"
        )
    if name.split(".")[0] not in VARIED:
        raise SettingsError(
            f"a grid cannot vary {name}, only settings of {', '.join(VARIED)}; run a sweep for "
            f"each value with --set {name}=VALUE and an --out of its own"
        )


def _items(text: str) -> Iterator[str]:
    """Yield the parts between commas outside of brackets, braces and quotes."""
    depth, quote, item = 0, "", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and not depth:
            yield item
            item = ""
            continue
        item += character
    yield item


def _integers(text: str, first: str, last: str, step: str | None) -> list[int]:
    stride = int(step) if step is not None else 1
    values = list(range(int(first), int(last) + 1, stride)) if stride > 0 else []
    if not values:
        raise SettingsError(
            f"--grid {text} has no values; a range is FIRST:LAST or FIRST:LAST:STEP"
        )
    return values


def _yaml(text: str, item: str) -> Any:
    try:
        return yaml.safe_load(item)
    except yaml.YAMLError:
        raise SettingsError(
            f"the value {item.strip()} in --grid {text} is not valid YAML"
        ) from None


def _with(base: Settings, changes: Mapping[str, Any]) -> Settings:
    values = base.model_dump()
    for name, value in changes.items():
        *sections, last = name.split(".")
        inside = values
        for section in sections:
            inside = inside[section]
        inside[last] = value
    return validate(values)


def _values(settings: Settings) -> dict[str, Any]:
    """Return the values of all settings that a grid may vary, by dotted name."""
    contents = to_dict(settings)
    found = {}
    for name in setting_names():
        if name.split(".")[0] in VARIED:
            value: Any = contents
            for part in name.split("."):
                value = value[part]
            found[name] = value
    return found


def _key(base: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    changed = {name: value for name, value in values.items() if value != base[name]}
    return point_text(changed) or BASE


def _distinct(values: Iterator[Any]) -> tuple[Any, ...]:
    """Return values without repetitions; they may be unhashable."""
    return tuple({json.dumps(value): value for value in values}.values())
