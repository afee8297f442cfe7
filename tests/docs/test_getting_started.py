"""The commands of docs/getting-started.md, run one after the other as a reader does."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from iseg_cli.cli import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "getting-started.md").read_text("utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which all commands of the page were run."""
    folder = tmp_path_factory.mktemp("newcomer")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("ISEG_EMOJI_VOC_ROOT", raising=False)
        for command in COMMANDS:
            program, *arguments = shlex.split(command)
            assert program == "iseg", command
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 0, f"{command}\n{result.output}"
    return folder


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) == PAGE.count("\niseg ") >= 10


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("emoji-voc-val", "masks"),
        ("raw", "masks"),
        ("from-file", "file"),
        ("from-clip", "clip"),
    ],
)
def test_each_output_folder_holds_the_masks(workplace: Path, folder: str, source: str) -> None:
    made = workplace / "predictions" / folder
    run = json.loads((made / "run.json").read_text("utf-8"))
    assert run["label_source"].split(":")[0] == source
    names = {f"val_{number:04}" for number in range(24)}
    assert {path.stem for path in made.glob("*.png")} == names
    records = [json.loads(line) for line in (made / "images.jsonl").read_text("utf-8").splitlines()]
    assert {record["image_id"] for record in records} == names
    assert all(record["status"] == "done" for record in records)


def test_overlays_and_reports_are_where_the_page_says(workplace: Path) -> None:
    made = workplace / "predictions" / "emoji-voc-val"
    assert len(list((made / "overlays").glob("val_*.jpg"))) == 24
    assert (workplace / "report.html").read_text("utf-8").startswith("<!")
    for folder in (made, workplace / "predictions" / "raw", workplace / "predictions/from-file"):
        report = json.loads((folder / "report.json").read_text("utf-8"))
        assert report["images"] == 24
        assert 0 < report["miou"] < 1
    assert set(json.loads((workplace / "labels.json").read_text("utf-8"))) == {
        f"val_{number:04}" for number in range(24)
    }


def test_the_sweep_leaves_its_tables(workplace: Path) -> None:
    found = {path.name for path in (workplace / "sweeps" / "emoji-voc-val").iterdir()}
    assert {"sweep.md", "sweep.csv", "sweep.json"} <= found


def test_the_mask_of_the_python_example(workplace: Path) -> None:
    labels = np.array(Image.open(workplace / "predictions" / "emoji-voc-val" / "val_0001.png"))
    assert f"{labels.shape} {np.unique(labels)}" in PAGE
