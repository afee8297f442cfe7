"""The commands of README.md, on a few images of the real layouts, with small models."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from layouts import make_folder, make_voc, write_image

from iseg_cli.cli import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("iseg ")]
SMALL = "small.yaml"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random_clip_folder: Path) -> Path:
    """Return a folder with the datasets of the page, and settings for small models."""
    make_voc(tmp_path)
    make_folder(tmp_path)
    own = tmp_path / "my-dataset"
    write_image(own / "images" / "0001.jpg")
    (own / "annotations").mkdir()
    instances = {
        "images": [{"id": 1, "file_name": "0001.jpg", "height": 6, "width": 8}],
        "categories": [{"id": 1, "name": "corgi"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]],
                "area": 16,
                "iscrowd": 0,
            }
        ],
    }
    (own / "annotations" / "instances_default.json").write_text(json.dumps(instances), "utf-8")
    small = {
        "model": "tiny",
        "clip": {"model": str(random_clip_folder), "templates": ["a photograph of {}"]},
        "runtime": {"batch_size": 2},
    }
    (tmp_path / SMALL).write_text(yaml.safe_dump(small), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run_and_leave_the_files_of_the_tree(workplace: Path) -> None:
    sources = []
    for command in COMMANDS:
        _, *arguments = shlex.split(command)
        small = ("--config", SMALL, "--limit", "2") if arguments[0] == "generate" else ()
        result = CliRunner().invoke(main, [*arguments, *small])
        assert result.exit_code == 0, f"{command}\n{result.output}"
        if arguments[0] == "generate":
            made = Path(re.search(r"masks written to (\S+?)[.,]?(?:\s|$)", result.output)[1])
            run = json.loads((made / "run.json").read_text("utf-8"))
            assert len(list(made.rglob("*.png"))) == run["images"] > 0, command
            sources.append(run["label_source"])
    assert sources == ["masks", "clip", "annotations"]
    tree = PAGE.split("predictions/voc-train/\n")[1].split("```")[0]
    named = re.findall(r"── (\w[\w.-]*)", tree)
    assert named[1:] == ["overlays", "run.json", "images.jsonl", "report.json"]
    for name in named[1:]:
        assert (workplace / "predictions" / "voc-train" / name).exists()
