"""The plan of a sweep: settings share captures, reductions, products and enlargements."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iseg_cli.config import Settings, to_dict
from iseg_cli.config.schema import AssignSettings, EntSelfSettings
from iseg_cli.errors import SettingsError
from iseg_cli.segmentation.refinement import refine_steps

CAPTURE = ("prompt", "cat_cross", "capture", "cluster", "seed")
"""The sections that attention depends on; the others change what follows it."""

Rules = dict[AssignSettings, list[str]]
"""Names of settings, by their rule that turns maps into labels."""


@dataclass(frozen=True, eq=False)
class Branch:
    """Settings that multiply by the same attention.

    Attributes:
        ent_self: how its entropy is reduced; None for the captured attention.
        products: the rules of assignment, by the number of products.
    """

    ent_self: EntSelfSettings | None
    products: Mapping[int, Rules]


@dataclass(frozen=True, eq=False)
class Capture:
    """Settings that share one forward of the model.

    Attributes:
        settings: one of the settings; all of them capture the same attention.
        branches: the settings with a fixed number of products.
        adaptive: the settings with adaptive refinement, each with its rules of assignment.
    """

    settings: Settings
    branches: tuple[Branch, ...]
    adaptive: tuple[tuple[Settings, Rules], ...]


def plan_captures(variants: Mapping[str, Settings]) -> tuple[Capture, ...]:
    """Return the captures of settings, given by name; each is computed once.

    Raises:
        SettingsError: settings with fusion, since a sweep has no CLIP.
    """
    fused = [name for name, settings in variants.items() if settings.fusion != "none"]
    if fused:
        raise SettingsError(
            f"{fused[0]!r} asks for fusion: {variants[fused[0]].fusion}, but a sweep has only"
            " attention; set fusion to none, or measure it with iseg generate and iseg evaluate"
        )
    groups: dict[str, dict[str, Settings]] = {}
    for name, settings in variants.items():
        groups.setdefault(_shared(settings, CAPTURE), {})[name] = settings
    return tuple(
        Capture(next(iter(group.values())), _branches(group), _adaptive(group))
        for group in groups.values()
    )


def _branches(group: Mapping[str, Settings]) -> tuple[Branch, ...]:
    found: dict[EntSelfSettings | None, dict[int, Rules]] = {}
    for name, settings in group.items():
        steps = refine_steps(settings)
        if not steps.is_shareable:
            continue
        rules = found.setdefault(steps.ent_self, {}).setdefault(steps.products, {})
        rules.setdefault(settings.assign, []).append(name)
    return tuple(Branch(ent_self, products) for ent_self, products in found.items())


def _adaptive(group: Mapping[str, Settings]) -> tuple[tuple[Settings, Rules], ...]:
    found: dict[str, tuple[Settings, Rules]] = {}
    for name, settings in group.items():
        if not refine_steps(settings).is_shareable:
            shared = found.setdefault(_shared(settings, ("ent_self", "refine")), (settings, {}))
            shared[1].setdefault(settings.assign, []).append(name)
    return tuple(found.values())


def _shared(settings: Settings, sections: tuple[str, ...]) -> str:
    """Return a key that is equal for settings that agree in some sections."""
    values: dict[str, Any] = to_dict(settings)
    return str([values[name] for name in sections])
