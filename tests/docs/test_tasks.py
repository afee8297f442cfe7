"""Every command of docs/tasks.md, section by section, on a few images of the real layouts."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from layouts import (
    make_cityscapes,
    make_coco,
    make_coco_object,
    make_cocostuff,
    make_context,
    make_folder,
    make_voc,
    write_image,
)

from iseg_cli.cli import main
from iseg_cli.readers.registry import DATASETS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tasks.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
# A command is a span of code with an option, or a line of a block with its comment cut off.
COMMAND = re.compile(
    r"`((?:iseg|python scripts/)[^`\n]* --[^`\n]*)`|^((?:iseg|python) [^#\n]*)", re.MULTILINE
)
# A row of the table of experiments: its command, what it says of dataset, split and labels.
ROW = re.compile(r"^\| [^|]+ \| `(iseg generate [^`]+)` \| (\S+) (\S+) \| (\w+) \|", re.MULTILINE)
TINY = "tiny.yaml"


def commands(text: str) -> list[str]:
    return [(span or line).strip() for span, line in COMMAND.findall(text)]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random_clip_folder: Path) -> Path:
    """A folder with every dataset in its usual place, and settings for small models."""
    for info in DATASETS.values():
        monkeypatch.delenv(info.environment, raising=False)
    for make in (make_voc, make_context, make_coco, make_coco_object, make_cocostuff):
        make(tmp_path)
    make_cityscapes(tmp_path)
    make_folder(tmp_path)
    for name in ("0001", "0002"):
        write_image(tmp_path / "drawn" / f"{name}.png")
    prompts = {"0001": "a photograph of two dogs", "0002": "an empty street"}
    (tmp_path / "prompts.json").write_text(json.dumps(prompts), "utf-8")
    small = {
        "model": "tiny",
        # Lists of heads are those of Stable Diffusion 2.1.
        "capture": {"cross_heads": {}, "self_heads": None},
        # One sentence for a class in place of 85.
        "clip": {"model": str(random_clip_folder), "templates": ["a photograph of {}"]},
        "synthesis": {"steps": 2},
        "runtime": {"batch_size": 2},
    }
    (tmp_path / TINY).write_text(yaml.safe_dump(small), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str) -> Result:
    """Run a command of the page with small models on two images."""
    program, *arguments = shlex.split(command)
    if program == "python":
        script, *arguments = arguments
        return CliRunner().invoke(script_command(ROOT / script), [*arguments, *SMALL["script"]])
    return CliRunner().invoke(main, [*arguments, *SMALL.get(arguments[0], ())])


SMALL = {
    "generate": ("--config", TINY, "--limit", "2"),
    "tag": ("--config", TINY, "--limit", "2"),
    "synthesize": ("--config", TINY, "--per-category", "1"),
    "script": ("--config", TINY, "--model", "tiny", "--batch-size", "2", "--limit", "2"),
}


def script_command(path: Path):
    """The click command of a script, which no package holds."""
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.run


def written_to(result: Result) -> Path | None:
    """The folder that a command says it wrote masks to."""
    found = re.search(r"masks written to (\S+?)[.,]?(?:\s|$)", result.output)
    return Path(found[1]) if found else None


@pytest.mark.parametrize("section", SECTIONS)
def test_every_command_of_a_section_runs(workplace: Path, section: str) -> None:
    said = {command: tuple(cells) for command, *cells in ROW.findall(SECTIONS[section])}
    for command in commands(SECTIONS[section]):
        result = run(command)
        assert result.exit_code == 0, f"{command}\n{result.output}"
        if not command.startswith("iseg generate"):
            continue
        folder = written_to(result)
        assert folder is not None, command
        made = json.loads((folder / "run.json").read_text("utf-8"))
        assert len(list(folder.rglob("*.png"))) == made["images"] > 0, command
        if command in said:
            assert (made["dataset"], made["split"], made["label_source"]) == said[command], command
    if section == "The paper's tables":
        assert set(said) == set(commands(SECTIONS[section])) - {"iseg evaluate predictions"}
        assert len(list(Path("predictions").glob("*/report.json"))) == len(said)


def test_the_table_of_tasks_is_the_programs() -> None:
    rows = dict(re.findall(r"^\| `(\w[\w-]*)` \| [^|]+ \| ([\w, -]+) \|", PAGE, re.MULTILINE))
    for task, names in rows.items():
        having = [name for name, info in DATASETS.items() if task in info.presets]
        assert sorted(names.split(", ")) == sorted(having), task
    assert set(rows) == {task for info in DATASETS.values() for task in info.presets}


def test_no_command_is_overlooked() -> None:
    found = [command for body in SECTIONS.values() for command in commands(body)]
    for start in ("iseg generate --", "iseg tag --", "iseg synthesize --", "python scripts/"):
        assert sum(command.startswith(start) for command in found) == PAGE.count(start), start
    assert sum(command.startswith("iseg evaluate predictions/") for command in found) == PAGE.count(
        "iseg evaluate predictions/"
    )
