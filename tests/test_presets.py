"""Which preset a dataset and a task get, what it says, and where the masks go."""

import re
from pathlib import Path

import pytest

from iseg_cli.config import load_settings, to_dict
from iseg_cli.errors import SettingsError
from iseg_cli.readers.registry import DATASETS, dataset_info
from iseg_cli.workflows.generate import default_folder, resolve_settings


def resolve(*configs: str, **options: object):
    return resolve_settings(configs, (), options)


@pytest.mark.parametrize(
    ("dataset", "task", "preset"),
    [(name, task, preset) for name, i in DATASETS.items() for task, preset in i.presets.items()],
)
def test_every_preset_is_of_its_dataset_and_task(dataset: str, task: str, preset: str) -> None:
    settings = load_settings(preset)
    assert (settings.dataset, settings.task) == (dataset, task)
    assert resolve(dataset=dataset, task=task) == settings
    assert settings.split in (None, *DATASETS[dataset].splits)
    assert settings.label_set in (None, *DATASETS[dataset].label_sets)
    if task == "open-vocabulary":
        assert settings.labels == "clip"


def test_the_usual_task_is_the_first() -> None:
    usual = {name: info.default_task for name, info in DATASETS.items()}
    assert usual == {
        "voc": "wsss",
        "coco": "wsss",
        "coco-object": "open-vocabulary",
        "cocostuff27": "unsupervised",
        "context": "open-vocabulary",
        "cityscapes": "unsupervised",
        "folder": "wsss",
        "emoji-voc": "wsss",
    }
    assert resolve(dataset="context").task == "open-vocabulary"
    assert dataset_info("voc").preset() == "voc"


# Step size, N, gamma, background, chosen heads, clustering.
ROWS = {
    "voc-open-vocabulary": (0.015, 8, 1.6, "power", True, True),
    "context": (0.002, 5, 1.6, "power", False, True),
    "coco-object": (0.2, 10, 1.6, "threshold", False, True),
    "paper/voc-open-vocabulary": (0.02, 8, 1.6, "power", False, False),
    "paper/context": (0.002, 5, 1.6, "power", False, False),
    "paper/coco-object": (0.2, 10, 1.6, "threshold", False, False),
}


@pytest.mark.parametrize("preset", ROWS)
def test_values_of_the_open_vocabulary(preset: str) -> None:
    settings = load_settings(preset)
    assert ROWS[preset] == (
        settings.ent_self.step_size,
        settings.refine.iterations,
        settings.cat_cross.gamma,
        settings.assign.background,
        bool(settings.capture.cross_heads),
        settings.cluster.enabled,
    )
    assert settings.assign.threshold == 0.45
    assert settings.capture.self_heads == (None if preset.startswith("paper") else (1, 2))
    natural = preset == "paper/voc-open-vocabulary"
    assert settings.ent_self.log == ("natural" if natural else "log10")


@pytest.mark.parametrize(
    ("preset", "values"),
    [
        ("voc-open-vocabulary", (0.6, 0.6, 0.4, 0.8)),
        ("folder-open-vocabulary", (0.6, 0.6, 0.4, 0.8)),
        ("context", (0.2, 0.2, 0.5, 0.5)),
        ("coco-object", (0.3, 0.6, 0.8, 0.2)),
        ("paper/voc-open-vocabulary", (0.6, 0.6, 0.4, 0.8)),
        ("paper/context", (0.2, 0.2, 0.5, 0.5)),
        ("paper/coco-object", (0.3, 0.6, 0.8, 0.2)),
    ],
)
def test_how_the_released_code_finds_labels(
    preset: str, values: tuple[float, float, float, float]
) -> None:
    clip = load_settings(preset).clip
    assert (clip.likely, clip.threshold, clip.patch_weight, clip.crop_weight) == values


def test_a_task_without_a_preset_is_one_sentence() -> None:
    with pytest.raises(SettingsError) as raised:
        resolve(dataset="coco", task="unsupervised")
    assert str(raised.value) == (
        "coco has no settings for the task unsupervised; it has wsss, and --config takes a preset "
        "of another dataset"
    )


def test_a_file_may_name_dataset_and_task(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("dataset: voc\ntask: open-vocabulary\nrefine: {iterations: 3}\n", "utf-8")
    settings = resolve(str(path))
    assert (settings.labels, settings.refine.iterations) == ("clip", 3)
    # An option goes before the file.
    assert resolve(str(path), task="wsss").labels == "masks"
    with pytest.raises(SettingsError, match="coco has no settings for the task open-vocabulary"):
        resolve(str(path), dataset="coco")


def test_a_named_preset_takes_the_place_of_the_datasets_own() -> None:
    settings = resolve("emoji-voc", dataset="coco", task="open-vocabulary")
    assert (settings.dataset, settings.task, settings.model) == ("coco", "open-vocabulary", "tiny")


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ({"dataset": "voc"}, "voc-train"),
        ({"dataset": "voc", "split": "train_aug"}, "voc-train_aug"),
        ({"dataset": "voc", "task": "wsss"}, "voc-train"),
        ({"dataset": "voc", "task": "open-vocabulary"}, "voc-val-open-vocabulary"),
        ({"dataset": "context"}, "context-val"),
        ({"dataset": "cityscapes", "task": "wsss"}, "cityscapes-val-wsss"),
        ({"dataset": "emoji-voc", "task": "unsupervised"}, "emoji-voc-val-unsupervised"),
    ],
)
def test_runs_of_different_tasks_do_not_meet(options: dict[str, str], folder: str) -> None:
    assert default_folder(resolve(**options)) == Path("predictions", folder)


RELEASED = {
    "voc": {},
    "coco": {"prompt": {"background_suffix": ", "}},
    "voc-open-vocabulary": {"prompt": {"background_prefix": ""}},
    "coco-object": {"prompt": {"background_prefix": "", "background_suffix": ", "}},
    "context": {"label_set": "context-60", "clip": {"keep_named": True}},
}


@pytest.mark.parametrize("preset", RELEASED)
def test_what_the_presets_of_the_released_code_add(preset: str) -> None:
    expected = to_dict(load_settings(preset))
    for name, value in RELEASED[preset].items():
        expected[name] = {**expected[name], **value} if isinstance(value, dict) else value
    assert to_dict(load_settings(f"released/{preset}")) == {**expected, "resize": "opencv"}


def test_the_table_of_differences_names_settings() -> None:
    """Settings in the last column of docs/method.md load, and the presets have their values."""
    page = (Path(__file__).parents[1] / "docs" / "method.md").read_text("utf-8")
    section = page.split("\n## Where the released code differs\n")[1].split("\n## ")[0]
    last = [line.rstrip(" |").rsplit("|", 1)[1] for line in section.splitlines() if line[:1] == "|"]
    named = dict(re.findall(r"`([a-z._]+): ([^`]*)`", "\n".join(last)))
    assert set(named) == {
        *("resize", "prompt.background_prefix", "prompt.background_suffix", "clip.keep_named"),
        *("diffseg.noise", "refine.mode"),
    }
    for name, value in named.items():
        chosen = load_settings(assignments=[f"{name}={value}"])
        assert chosen != load_settings()
