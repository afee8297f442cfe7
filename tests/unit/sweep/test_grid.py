"""The texts of --grid, and the settings of a grid."""

import pytest

from iseg_cli.config import load_settings
from iseg_cli.errors import SettingsError
from iseg_cli.sweep.grid import BASE, build_grid
from iseg_cli.sweep.plan import plan_captures

PRESET = load_settings("emoji-voc")  # ent_self.step_size 0.1, refine.iterations 6


def values(text):
    (axis,) = build_grid(PRESET, [text]).axes
    return list(axis.values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("refine.iterations=0:3", [0, 1, 2, 3]),
        ("refine.iterations=2:9:3", [2, 5, 8]),
        ("refine.iterations=0:2,8,12:13", [0, 1, 2, 8, 12, 13]),
        ("refine.iterations=1:30", list(range(1, 31))),  # to YAML 1.1, 1:30 is ninety
        ("ent_self.step_size=0, 0.005,1e-2", [0.0, 0.005, 0.01]),
        ("ent_self.step_size=0.02,2.0e-2", [0.02]),
        ("refine.mode=naive,iterative", ["naive", "iterative"]),
        ("capture.self_heads=null,[0],[0,1]", [None, [0], [0, 1]]),
        ('prompt.background_words=[],["a, b", sky]', [[], ["a, b", "sky"]]),
        ("capture.cross_heads={1: [0, 1]},{}", [{1: [0, 1]}, {}]),
    ],
)
def test_values(text, expected):
    found = values(text)
    assert [v if not isinstance(v, dict) else {int(k): w for k, w in v.items()} for v in found] == (
        expected
    )


def test_axes_multiply_the_last_one_fastest():
    grid = build_grid(PRESET, ["ent_self.step_size=0.05,0.1", "refine.iterations=5:6"], seeds=2)
    assert [tuple(point.values.values()) for point in grid.points] == [
        (step, number, seed) for step in (0.05, 0.1) for number in (5, 6) for seed in (0, 1)
    ]
    for point in grid.points:
        assert point.settings.ent_self.step_size == point.values["ent_self.step_size"]
        assert point.settings.refine.iterations == point.values["refine.iterations"]
        assert point.settings.seed == point.values["seed"]
        assert point.settings.capture == PRESET.capture


def test_a_key_says_what_differs_from_the_base_however_the_grid_is_written():
    wide = build_grid(PRESET, ["ent_self.step_size=0.05,0.1", "refine.iterations=5:6"])
    narrow = build_grid(PRESET, ["refine.iterations=5,6"])
    keys = [point.key for point in wide.points]
    assert keys == [
        "ent_self.step_size=0.05 refine.iterations=5",
        "ent_self.step_size=0.05",
        "refine.iterations=5",
        BASE,
    ]
    assert [point.key for point in narrow.points] == keys[2:]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "needs a grid; pass --grid"),
        (["refine.iterations"], "is no axis; write NAME=VALUE"),
        (["refine.iterations="], "is no axis"),
        (["refine.iterations=5:2"], "has no values"),
        (["refine.iterations=2:5:0"], "has no values"),
        (["refine.iterations=2:5:-1"], "has no values"),
        (["refine.iterations=-1:3"], "setting refine.iterations is -1"),
        (["ent_self.step_size=0.1,much"], "setting ent_self.step_size is 'much'"),
        (["refine.mode=[naive"], "is not valid YAML"),
        (["refine.iteratoins=1"], r"unknown setting refine.iteratoins \(did you mean refine.iter"),
        (["refine=1"], "refine is a group of settings: name one of its settings, such as refine.m"),
        (["seed=1", "seed=2"], "seed is an axis of the grid twice"),
        (["labels=masks,clip"], "a grid cannot vary labels, only settings of prompt, cat_cross"),
        (["runtime.batch_size=1,2"], "a grid cannot vary runtime.batch_size"),
        (["fusion=none,clip-entropy"], "a grid cannot vary fusion"),
        (["assign.ignore_low=0.1,0.2"], "assign.ignore_low and assign.ignore_high go together"),
    ],
)
def test_what_is_no_grid_is_said_in_one_sentence(texts, message):
    with pytest.raises(SettingsError, match=message) as raised:
        build_grid(PRESET, texts)
    assert "\n" not in str(raised.value)


def test_the_seed_is_one_axis_not_two():
    with pytest.raises(SettingsError, match="seed is an axis of the grid twice"):
        build_grid(PRESET, ["seed=1,2"], seeds=3)


def planned(*texts):
    grid = build_grid(PRESET, texts)
    return plan_captures({point.key: point.settings for point in grid.points})


def test_one_capture_serves_all_that_differ_behind_it():
    (capture,) = planned(
        "refine.mode=none,single,naive,iterative",
        "ent_self.step_size=0.05,0.1",
        "refine.iterations=0:4",
        "assign.background=power,none",
    )
    # Attention as it was captured, and with each of the two steps.
    assert [b.ent_self and b.ent_self.step_size for b in capture.branches] == [None, 0.05, 0.1]
    raw, *reduced = capture.branches
    assert sorted(raw.products) == [0, 1, 2, 3, 4]
    assert [sorted(branch.products) for branch in reduced] == [[1, 2, 3, 4]] * 2
    rules = list(raw.products[0].values())
    assert [len(names) for names in rules] == [2 * 5 + 2 + 2] * 2  # none, naive 0, iterative 0
    assert not capture.adaptive


def test_settings_that_stop_by_themselves_share_maps_only():
    (capture,) = planned(
        "refine.mode=adaptive", "refine.iterations=2,4", "assign.background=power,none"
    )
    assert not capture.branches
    assert [len(rules) for _, rules in capture.adaptive] == [2, 2]


@pytest.mark.parametrize(
    ("text", "captures"),
    [
        ("cat_cross.gamma=1,1.3,1.6", 3),
        ("seed=0:4", 5),
        ("capture.timestep=100,200", 2),
        ("prompt.background_words=null,[]", 2),
        ("ent_self.log=natural,log10", 1),
    ],
)
def test_what_changes_the_forward_needs_one_each(text, captures):
    assert len(planned(text, "refine.iterations=1:3")) == captures
