from pathlib import Path

import pytest
from pydantic import ValidationError

from iseg_cli.config import (
    Settings,
    declared,
    describe_settings,
    load_settings,
    setting_names,
    to_dict,
    validate,
)
from iseg_cli.config.resources import preset_names
from iseg_cli.errors import SettingsError

PRESETS = preset_names()


def load(*assignments, **options):
    return load_settings(assignments=assignments, **options)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_loads_and_is_called_after_its_dataset(preset):
    settings = load_settings(preset)
    assert preset.split("/")[-1].startswith(settings.dataset)
    assert validate(to_dict(settings)) == settings


def test_the_values_of_the_released_code():
    voc = load_settings("voc")
    assert (voc.ent_self.step_size, voc.ent_self.log) == (0.015, "log10")
    assert (voc.refine.mode, voc.refine.iterations, voc.cat_cross.gamma) == ("iterative", 10, 1.6)
    assert (voc.cluster.enabled, voc.cluster.rounds) == (True, 20)
    assert voc.assign.background == "power"
    assert voc.capture.self_heads == (1, 2)
    assert voc.capture.cross_weights == {4: 0.7, 2: 0.3}
    assert voc.capture.cross_heads[2] == (22, 5, 21, 13, 8, 27, 28, 6, 25)
    assert voc.capture.cross_heads[4] == (
        *(76, 1, 43, 17, 81, 6, 44, 27, 2, 8, 22, 20, 60, 78, 12, 83, 94, 47, 88, 96, 3, 33, 46),
        *(52, 77, 93, 51, 58, 0, 13, 14, 19, 34, 41, 59, 87, 16, 24, 28, 30, 32),
    )
    coco = load_settings("coco")
    assert (coco.ent_self.step_size, coco.refine.iterations) == (0.1, 10)
    assert (coco.assign.background, coco.assign.threshold) == ("threshold", 0.45)
    assert coco.capture.cross_heads == {}
    paper = load_settings("paper/voc")
    assert (paper.ent_self.step_size, paper.refine.iterations) == (0.02, 8)
    assert (paper.ent_self.log, paper.cluster.enabled) == ("natural", False)
    assert paper.capture.cross_heads == {}
    assert paper.prompt.background_words == ()


def test_a_preset_may_be_like_another():
    voc, val = to_dict(load_settings("voc")), to_dict(load_settings("voc-open-vocabulary"))
    assert val["capture"] == voc["capture"]
    differ = {name for name in voc if voc[name] != val[name]}
    assert differ == {"split", "task", "labels", "clip", "refine"}
    assert val["refine"] == {**voc["refine"], "iterations": 8}
    with pytest.raises(SettingsError, match="unknown setting like"):
        validate({"like": "voc"})


def test_later_sources_win(tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("refine: {iterations: 3}\nseed: 1\nent_self: {log: natural}", "utf-8")
    two.write_text("seed: 2\n# nothing else", "utf-8")
    settings = load_settings(
        "voc",
        files=[one, two],
        overrides={"seed": 3, "runtime.workers": None, "model": "tiny"},
        assignments=["seed=4", "refine.mode=naive"],
    )
    assert (settings.seed, settings.model, settings.runtime.workers) == (4, "tiny", 4)
    assert (settings.refine.iterations, settings.refine.mode) == (3, "naive")
    assert (settings.ent_self.step_size, settings.ent_self.log) == (0.015, "natural")


def test_files_may_be_empty_but_must_be_mappings(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("# all commented out\n", "utf-8")
    assert load_settings(files=[path]) == Settings()
    path.write_text("- seed\n", "utf-8")
    with pytest.raises(SettingsError, match="holds no settings"):
        load_settings(files=[path])
    path.write_text("seed: [1\n", "utf-8")
    with pytest.raises(SettingsError, match="not valid YAML"):
        load_settings(files=[path])
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(files=[tmp_path / "none.yaml"])


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("refine.iterations=12", "refine.iterations", 12),
        (" refine.iterations = 12", "refine.iterations", 12),
        ("capture.self_heads=[1, 2]", "capture.self_heads", (1, 2)),
        ("capture.self_heads=null", "capture.self_heads", None),
        ("cluster.enabled=true", "cluster.enabled", True),
        ("prompt.background_words=[]", "prompt.background_words", ()),
        ("root=/data/a=b", "root", Path("/data/a=b")),
        ("runtime.batch_size=auto", "runtime.batch_size", "auto"),
        ("capture.cross_weights={2: 1.0}", "capture.cross_weights", {2: 1.0}),
    ],
)
def test_assignments(assignment, name, value):
    settings = load(assignment)
    for part in name.split("."):
        settings = getattr(settings, part)
    assert settings == value


def test_a_mapping_is_one_value_and_replaced_whole(tmp_path):
    assert load("capture.cross_weights={2: 1.0}").capture.cross_weights == {2: 1.0}
    voc = load("capture.cross_weights={2: 1.0}", preset="voc")
    assert voc.capture.cross_weights == {2: 1.0}
    assert set(voc.capture.cross_heads) == {2, 4}
    assert load("capture.cross_heads={2: [0]}", preset="voc").capture.cross_heads == {2: (0,)}
    # All heads again, on a preset that chooses some.
    assert load("capture.cross_heads={}", preset="voc").capture.cross_heads == {}
    path = tmp_path / "mine.yaml"
    path.write_text("capture: {cross_heads: {}}", "utf-8")
    mine = load_settings("voc", files=[path])
    assert mine.capture.cross_heads == {}
    assert mine.capture.self_heads == (1, 2)
    path.write_text("capture: {}", "utf-8")
    assert load_settings("voc", files=[path]) == load_settings("voc")


def test_given_mappings_are_left_alone():
    given = {"cross_weights": {2: 1.0}}
    load_settings(overrides={"capture": given}, assignments=["capture.timestep=7"])
    assert given == {"cross_weights": {2: 1.0}}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("refine.iteratoins=8", r"unknown setting refine\.iteratoins .*mean refine\.iterations\?"),
        ("refin.iterations=8", r"unknown setting refin.* \(did you mean refine"),
        ("lambda=8", "unknown setting lambda"),
        ("refine.iterations=-1", r"setting refine\.iterations is -1: .*greater than or equal to 0"),
        ("refine.mode=fast", r"setting refine\.mode is 'fast'"),
        ("refine=8", "setting refine is 8"),
        ("cat_cross.gamma=0", r"setting cat_cross\.gamma is 0: .*greater than 0"),
        ("cat_cross.gamma=.inf", r"setting cat_cross\.gamma is inf"),
        ("ent_self.step_size=.nan", r"setting ent_self\.step_size is nan"),
        ("assign.threshold=1.1", r"setting assign\.threshold is 1\.1"),
        ("assign.ignore_low=0.3", "go together"),
        ("capture.cross_weights={}", "leaves no resolution"),
        ("capture.cross_weights={2: 0, 4: 0}", "leaves no resolution"),
        ("capture.cross_weights={0: 1.0}", r"setting capture\.cross_weights is 0"),
        ("capture.cross_heads={0: [1]}", r"setting capture\.cross_heads is 0"),
        ("capture.cross_weights={2: -1}", r"setting capture\.cross_weights is -1"),
        ("capture.self_heads=[-1]", r"setting capture\.self_heads is -1"),
        ("runtime.batch_size=0", r"setting runtime\.batch_size is 0"),
        ("runtime.batch_size=many", r"setting runtime\.batch_size is 'many'"),
        ("runtime.device=toaster", r"setting runtime\.device is 'toaster'"),
        ("runtime.dtype=float64", r"setting runtime\.dtype is 'float64'"),
        ("seed=-1", "setting seed is -1"),
        ("seed", "--set seed is no assignment"),
        ("=3", "--set =3 is no assignment"),
        ("seed=[1", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(assignment, message):
    with pytest.raises(SettingsError, match=message):
        load(assignment)


def test_settings_that_contradict_each_other():
    with pytest.raises(SettingsError, match="min_iterations is greater"):
        load("refine.mode=adaptive", "refine.min_iterations=9")
    with pytest.raises(SettingsError, match="ignore_low is greater"):
        load("assign.ignore_low=0.6", "assign.ignore_high=0.5")
    assert load("refine.min_iterations=9").refine.mode == "iterative"


def test_unknown_presets_are_refused():
    with pytest.raises(SettingsError, match=r"no preset 'vco' \(did you mean voc\?\)"):
        load_settings("vco")


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Settings().refine.iterations = 3


def test_the_last_file_that_names_a_dataset_counts(tmp_path):
    files = []
    for name, content in (("a", "dataset: voc"), ("b", "dataset: coco"), ("c", "seed: 1")):
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(content, "utf-8")
    assert declared("dataset", files) == "coco"
    assert declared("dataset", files[2:]) is None


def leaves(values, prefix=""):
    """Dotted names of a dump of the settings."""
    for name, value in values.items():
        section = isinstance(value, dict) and not name.startswith("cross_")
        yield from leaves(value, f"{prefix}{name}.") if section else [prefix + name]


def test_descriptions_cover_every_setting():
    described = {name: (default, meaning) for name, default, meaning in describe_settings()}
    assert list(described) == setting_names() == list(leaves(to_dict(Settings())))
    assert described["refine.iterations"][0] == "8"
    assert described["cat_cross.gamma"][0] == "1.6"
    undescribed = {name for name, (_, meaning) in described.items() if not meaning}
    assert undescribed <= {"assign.ignore_high", "runtime.device", "runtime.dtype"}
