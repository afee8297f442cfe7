"""The script that measures docs/tasks.md: it reads the page's rows and prints them with figures."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tasks.md").read_text("utf-8")
SECTION = PAGE.split("## The embedded dataset")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def script():
    path = ROOT / "scripts" / "measure_tasks.py"
    spec = importlib.util.spec_from_file_location("measure_tasks", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def test_every_row_of_the_page_is_read(script) -> None:
    rows = script.read_rows(PAGE)
    assert [row.command for row in rows] == re.findall(r"`(iseg [^`]+)`", SECTION)
    assert all(row.names for row in rows)
    for row in rows:
        said = re.search(rf"\| `{re.escape(row.command)}` \| [^|]+ \| ([^|]+) \|", SECTION)[1]
        if said != "not measured yet":
            assert len(said.split(", ")) == len(row.names), row.command


def test_a_row_is_written_with_its_figures(script) -> None:
    page = (
        "## Another table\n| a | `iseg generate --x` | mIoU | 1 |\n"
        "## The embedded dataset\n"
        "| a | `iseg generate --x` | accuracy, mIoU, matched once | 1 |\n"
        "| b | `iseg tag --y` | F1, mean average precision | 2 |\n"
        "\n## The end\n"
    )
    row, other = script.read_rows(page)
    assert (row.task, row.names, other.names) == ("a", ["pixel_accuracy", "miou"], ["f1", "map"])
    told = script.tell(row, {"miou": 0.5, "pixel_accuracy": 0.87649, "f1": 1})
    assert told == "87.6, 50.0"
    written = script.write_rows(page, {"iseg tag --y": "3.0, 4.0"})
    assert written == page.replace("| 2 |", "| 3.0, 4.0 |")


def test_bars_are_held(script, capsys) -> None:
    reports = {
        "weakly supervised": {"miou": 0.5},
        "unsupervised, DiffSeg alone": {"miou": 0.3},
        "unsupervised, refined": {"miou": 0.31},
        "labels from CLIP alone": {"map": 0.8},
        "open vocabulary": {"miou": 0.425},
    }
    assert script.print_bars(reports)
    assert capsys.readouterr().out.count("reached") == 3
    for task, report in (
        ("unsupervised, refined", {"miou": 0.3}),
        ("labels from CLIP alone", {"map": 0.799}),
        ("open vocabulary", {"miou": 0.424}),
    ):
        assert not script.print_bars({**reports, task: report})
        assert capsys.readouterr().out.count("MISSED") == 1
    assert set(reports) <= {row.task for row in script.read_rows(PAGE)}


def test_a_row_is_measured_by_the_program(tmp_path: Path) -> None:
    """Two images; the figures are those of the run's own reports."""
    done = subprocess.run(
        [
            sys.executable, ROOT / "scripts" / "measure_tasks.py", "--work", tmp_path,
            "--limit", "2", "--only", "unsupervised, refined",
        ],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert len(rows) == 2
    report = json.loads(
        (tmp_path / "predictions/emoji-voc-val-unsupervised/report.json").read_text()
    )
    assert (report["protocol"]["matching"], report["images"]) == ("dataset", 2)
    told = f"| {100 * report['pixel_accuracy']:.1f}, {100 * report['miou']:.1f} |"
    assert rows[1].startswith("| the same | `iseg evaluate")
    assert rows[1].endswith(told)
    assert not rows[0].endswith(told)


def test_figures_of_a_few_images_are_not_written(script) -> None:
    result = CliRunner().invoke(script.run, ["--write", "--limit", "2"])
    assert result.exit_code == 2
    assert "--limit" in result.output
