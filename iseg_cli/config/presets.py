"""Which presets a dataset has: `configs/<dataset>.yaml` and `configs/<dataset>-<task>.yaml`."""

from collections.abc import Mapping
from functools import cache
from typing import get_args

from iseg_cli.config.layers import merge, preset_layers
from iseg_cli.config.resources import preset_names
from iseg_cli.config.schema import Settings, Task
from iseg_cli.errors import SettingsError, suggestion


@cache
def dataset_presets(dataset: str) -> Mapping[str, str]:
    """Return task -> preset of a dataset; the first task is the usual one.

    Example:
        >>> dict(dataset_presets("cityscapes"))
        {'unsupervised': 'cityscapes', 'wsss': 'cityscapes-wsss'}
    """
    known = preset_names()
    found = {_task(dataset): dataset}
    for task in get_args(Task):
        if f"{dataset}-{task}" in known:
            found.setdefault(task, f"{dataset}-{task}")
    return found


@cache
def dataset_names() -> tuple[str, ...]:
    """Return the datasets that have a preset of their name, in alphabetical order."""
    return tuple(name for name in preset_names() if merge(preset_layers(name))["dataset"] == name)


def default_task(dataset: str) -> str:
    """Return the task that is meant where none is named."""
    return next(iter(dataset_presets(require_dataset(dataset))))


def choose_preset(dataset: str, task: str | None = None, *, prefer: str | None = None) -> str:
    """Return the preset of a dataset for a task.

    Args:
        dataset: its name.
        task: None for the task that is preferred, or else the dataset's usual one.
        prefer: a task that is taken where none is named and the dataset has a preset for it.

    Raises:
        SettingsError: no such dataset, or no preset for the task.

    Example:
        >>> choose_preset("voc"), choose_preset("voc", prefer="open-vocabulary")
        ('voc', 'voc-open-vocabulary')
    """
    presets = dataset_presets(require_dataset(dataset))
    usual = next(iter(presets))
    chosen = task or (prefer if prefer is not None and prefer in presets else usual)
    if chosen not in presets:
        raise SettingsError(
            f"{dataset} has no settings for the task {chosen}{suggestion(chosen, presets)}; it has "
            f"{', '.join(presets)}; pass --config with a preset of another dataset"
        )
    return presets[chosen]


def require_dataset(name: str) -> str:
    """Return the name of a dataset; SettingsError, with the nearest name, for an unknown one."""
    known = dataset_names()
    if name not in known:
        raise SettingsError(
            f"there is no dataset {name!r}{suggestion(name, known)}; there are {', '.join(known)}"
        )
    return name


def _task(preset: str) -> str:
    default = Settings.model_fields["task"].default
    return str(merge(preset_layers(preset)).get("task", default))
