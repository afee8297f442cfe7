"""`iseg config show`: every setting, its value and its origin."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from random_models import write_random_model

from iseg_cli.cli import main
from iseg_cli.config import load_settings, setting_names, to_dict


def iseg(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def show(*arguments: object) -> dict[str, tuple[object, str]]:
    result = iseg("config", "show", "--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    assert not result.stderr
    rows = json.loads(result.stdout)
    return {name: (row["value"], row["origin"]) for name, row in rows.items()}


def test_every_setting_is_shown_with_its_value() -> None:
    shown = show("--dataset", "voc")
    assert list(shown) == setting_names()
    expected = to_dict(load_settings("voc"))
    for name, (value, _) in shown.items():
        inside = expected
        for part in name.split("."):
            inside = inside[part]
        assert value == inside


def test_origins(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("capture: {timestep: 50}\nseed: 3\nrefine: {iterations: 2}\n", "utf-8")
    shown = show(
        *("--dataset", "voc", "--task", "open-vocabulary", "--config", path),
        *("--set", "refine.iterations=12", "--set", "capture.self_heads=null"),
    )
    assert shown["refine.mode"] == ("iterative", "default")
    assert shown["capture.self_layer"] == ("up_blocks.3.attentions.1", "backbone sd2.1-base")
    assert shown["capture.cross_heads"][1] == "backbone sd2.1-base"
    assert shown["capture.heads"] == ("voc", "preset voc")
    assert shown["labels"] == ("clip", "preset voc-open-vocabulary")
    assert shown["ent_self.step_size"] == (0.015, "preset voc")  # which the other is like
    assert shown["seed"] == (3, f"file {path}")
    assert shown["capture.timestep"] == (50, f"file {path}")
    assert shown["task"] == ("open-vocabulary", "option --task")
    assert shown["refine.iterations"] == (12, "--set")
    assert shown["capture.self_heads"] == (None, "--set")


def test_another_model() -> None:
    shown = show("--dataset", "voc", "--model", "tiny")
    assert shown["model"] == ("tiny", "option --model")
    assert shown["capture.timestep"] == (200, "backbone tiny")
    assert shown["capture.heads"] == (None, "backbone tiny")  # the list of the preset is another's
    assert shown["capture.self_heads"] == (None, "backbone tiny")
    assert shown["cluster.enabled"] == (True, "preset voc")


def test_a_folder_is_known_by_its_layers(tmp_path: Path) -> None:
    folder = write_random_model(tmp_path / "model", heads=8)
    shown = show("--dataset", "folder", "--model", folder)
    assert shown["capture.cross_heads"] == ({}, "backbone sd1.5")


def test_a_preset_in_place_of_the_datasets_own() -> None:
    shown = show("--config", "paper/context")
    assert shown["capture.heads"] == (None, "preset paper/context")
    assert shown["clip.threshold"] == (0.2, "preset context")


def test_the_table() -> None:
    result = iseg("config", "show", "--dataset", "emoji-voc")
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in result.stdout.splitlines()}
    assert lines["setting"].split() == ["value", "from"]
    assert lines["capture.timestep"].split(maxsplit=1) == ["200", "backbone tiny"]
    assert lines["capture.cross_layers"].rstrip().endswith("...  backbone tiny")
    assert set(lines) == {"setting", *setting_names()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no dataset was named; pass --dataset (cityscapes, coco,"),
        (("--dataset", "vco"), "there is no dataset 'vco' (did you mean voc?)"),
        (
            ("--dataset", "voc", "--set", "capture.heads=vco"),
            "capture.heads is vco, but the backbone sd2.1-base has lists of heads for voc, coco, "
            "context only (did you mean voc?); null reads all heads",
        ),
        (
            ("--dataset", "voc", "--model", "tiny", "--set", "capture.heads=voc"),
            "the backbone tiny has no published lists of heads; null reads all heads",
        ),
    ],
)
def test_what_is_wrong_is_a_sentence(arguments: tuple[str, ...], said: str) -> None:
    result = iseg("config", "show", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("model", [(), ("--model", "tiny"), ("--model", "nowhere")])
def test_no_torch_is_imported(model: tuple[str, ...]) -> None:
    arguments = ["iseg", "config", "show", "--dataset", "voc", *model]
    code = (
        f"import sys; sys.argv = {arguments}\n"
        "from iseg_cli.cli import main\n"
        "main(standalone_mode=False)\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
