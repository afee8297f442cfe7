"""The settings of a command: the preset of a dataset and its task, files, options, assignments."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from iseg_cli.config.backbone import Backbone, named_backbone
from iseg_cli.config.layers import declared, given_layers, preset_layers
from iseg_cli.config.loading import Resolved, model_in, resolve_layers
from iseg_cli.config.presets import choose_preset, dataset_names, default_task
from iseg_cli.config.schema import Settings
from iseg_cli.errors import SettingsError

FindBackbone = Callable[[str], Backbone]
"""Takes a model's name and returns what is read of it."""

SYNTHESIS_PRESETS = {"tiny": "emoji-voc-synthesize"}
"""The preset of `iseg synthesize` for a model; that of any other is `voc-synthesize`."""


def resolve_settings(
    configs: Sequence[str],
    assignments: Sequence[str],
    options: Mapping[str, Any],
    *,
    prefer: str | None = None,
    find_backbone: FindBackbone = named_backbone,
) -> Settings:
    """Return the settings of a command; the arguments are those of `resolve`."""
    return resolve(
        configs, assignments, options, prefer=prefer, find_backbone=find_backbone
    ).settings


def resolve(
    configs: Sequence[str],
    assignments: Sequence[str],
    options: Mapping[str, Any],
    *,
    prefer: str | None = None,
    find_backbone: FindBackbone = named_backbone,
) -> Resolved:
    """Return the settings of a command, and where each of them comes from.

    The order of precedence is: backbone, preset, files, options, assignments.

    Args:
        configs: YAML files, later ones over earlier ones; or names of presets, the last of which
            replaces the preset of the dataset and its task.
        assignments: texts such as `refine.iterations=8`.
        options: settings by dotted name; None where an option was not given.
        prefer: the task that is meant where none is named and the dataset has a preset for it.
        find_backbone: says what is read of a model. The default knows the names of backbones
            alone; `backbones.matching.find_backbone` also looks into folders and at the hub.

    Raises:
        SettingsError: no dataset was named, it has no preset for the task, or a setting is unknown
            or out of range.
    """
    files = [Path(config) for config in configs if Path(config).is_file()]
    presets = [config for config in configs if not Path(config).is_file()]
    if presets:
        preset = presets[-1]
    else:
        dataset = options.get("dataset") or declared("dataset", files)
        if dataset is None:
            names = ", ".join(dataset_names())
            raise SettingsError(f"no dataset was named; pass --dataset ({names})")
        task = options.get("task") or declared("task", files)
        preset = choose_preset(dataset, task, prefer=prefer)
    layers = [*preset_layers(preset), *given_layers(files, options, assignments)]
    return resolve_layers(layers, find_backbone(model_in(layers)))


def resolve_synthesis(
    configs: Sequence[str],
    assignments: Sequence[str],
    options: Mapping[str, Any],
    *,
    find_backbone: FindBackbone = named_backbone,
) -> Settings:
    """Return the settings of `iseg synthesize`: those of the model's preset lie below all others.

    The arguments are those of `resolve`; a preset named among `configs` replaces the model's own.
    """
    files = [Path(config) for config in configs if Path(config).is_file()]
    model = options.get("model") or declared("model", files)
    preset = SYNTHESIS_PRESETS.get(str(model), "voc-synthesize")
    return resolve_settings((preset, *configs), assignments, options, find_backbone=find_backbone)


def default_folder(settings: Settings, *, default_split: str) -> Path:
    """Return the folder of masks if the user names none: predictions/<dataset>-<split>.

    The name of a task that is not the dataset's usual one follows, so that runs do not meet.

    Args:
        settings: those of the run.
        default_split: the split of the dataset that is taken where the settings name none.
    """
    parts = [settings.dataset, settings.split or default_split]
    if settings.task != default_task(settings.dataset):
        parts.append(settings.task)
    return Path("predictions", "-".join(parts))
