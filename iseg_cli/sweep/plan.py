"""What settings have in common: each capture, reduction, product and enlargement is made once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iseg_cli.config import Settings, to_dict
from iseg_cli.config.schema import AssignSettings, EntSelfSettings
from iseg_cli.errors import SettingsError
from iseg_cli.segmentation.refinement import refine_steps

CAPTURE = ("prompt", "cat_cross", "capture", "cluster", "seed")
"""The settings that attention depends on; the others only change what is made of it."""

Rules = dict[AssignSettings, list[str]]
"""Names of settings by the rule that turns maps into labels."""


@dataclass(frozen=True, eq=False)
class Branch:
    """Settings that multiply by the same attention.

    Attributes:
        ent_self: how its entropy is reduced; None for attention as it was captured.
        products: by the number of products, what is made of the maps then.
    """

    ent_self: EntSelfSettings | None
    products: Mapping[int, Rules]


@dataclass(frozen=True, eq=False)
class Capture:
    """Settings that share one forward of the model.

    Attributes:
        settings: those of any of them, to read the attention with.
        branches: those with a number of products that is known beforehand.
        adaptive: pairs of settings that stop by themselves, and what is made of their maps.
    """

    settings: Settings
    branches: tuple[Branch, ...]
    adaptive: tuple[tuple[Settings, Rules], ...]


def plan_captures(variants: Mapping[str, Settings]) -> tuple[Capture, ...]:
    """Arrange settings, given by name, so that what they share is computed once.

    Raises:
        SettingsError: settings that ask for fusion with CLIP, which is not read here.
    """
    fused = [name for name, settings in variants.items() if settings.fusion != "none"]
    if fused:
        raise SettingsError(
            f"{fused[0]!r} asks for fusion: {variants[fused[0]].fusion}, but only attention is read"
            " here; set fusion to none, or measure it with iseg generate and iseg evaluate"
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
    """Return a key that two settings have in common exactly if they agree in some sections."""
    values: dict[str, Any] = to_dict(settings)
    return str([values[name] for name in sections])
