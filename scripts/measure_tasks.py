"""Measures what docs/tasks.md says of the embedded dataset: runs its table, prints its rows.

Example: python scripts/measure_tasks.py --write

The figures that a row names are taken from the report of its run, in %. At the end the bars that
they are held to; exit code 1 if one is missed.
"""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

PAGE = Path(__file__).parents[1] / "docs" / "tasks.md"
SECTION = "## The embedded dataset"
ROW = re.compile(r"^\| (?P<task>[^|]+) \| `(?P<command>iseg [^`]+)` \| (?P<figure>[^|]+) \| .*\|$")
MASKS = re.compile(r"masks written to (\S+?)[.,]?(?:\s|$)")
NAMES = {"mIoU": "miou", "accuracy": "pixel_accuracy", "F1": "f1", "mean average precision": "map"}
"""What rows call a figure, and its name in a report."""


@dataclass(frozen=True)
class Row:
    """A row of the table: what is run, and which figures are told of it."""

    task: str
    command: str
    figure: str

    @property
    def names(self) -> list[str]:
        """The figures' names in a report, or `images`."""
        plain = self.figure.split(" (")[0].split(", ")
        return [NAMES.get(name, name) for name in plain if name in NAMES or name == "images"]


def read_rows(page: str) -> list[Row]:
    """The rows of the page's table, in their order."""
    section = page.split(SECTION)[1].split("\n## ")[0]
    found = [match.groupdict() for match in map(ROW.match, section.splitlines()) if match]
    return [Row(**{name: text.strip() for name, text in cells.items()}) for cells in found]


def write_rows(page: str, measured: Mapping[str, str]) -> str:
    """The page with other figures, by command."""
    lines = page.splitlines(keepends=True)
    for number, line in enumerate(lines):
        match = ROW.match(line.rstrip("\n"))
        if match and match["command"] in measured:
            lines[number] = print_row(Row(**match.groupdict()), measured[match["command"]]) + "\n"
    return "".join(lines)


def print_row(row: Row, measured: str) -> str:
    """A row as the page has it."""
    return f"| {row.task} | `{row.command}` | {row.figure} | {measured} |"


def tell(row: Row, report: Mapping[str, Any]) -> str:
    """The figures that a row names, shares in %."""
    return ", ".join(
        str(report[name]) if name == "images" else f"{100 * report[name]:.1f}" for name in row.names
    )


def measure(row: Row, work: Path, limit: int | None, *, resume: bool) -> dict[str, Any]:
    """Run a row's command in the folder `work`; return what its report says."""
    _, verb, *arguments = shlex.split(row.command)
    if verb == "evaluate":
        return evaluate(work, arguments)
    if not resume:
        arguments.append("--overwrite")
    if limit is not None and verb in ("generate", "tag"):
        arguments += ["--limit", str(limit)]
    if verb == "tag":
        tags = json.loads(iseg(work, verb, *arguments, "--format", "json").stdout)
        return {**tags, "f1": tags["micro"]["f1"]}
    done = iseg(work, verb, *arguments)
    if verb == "synthesize":
        folder = work / arguments[arguments.index("--out") + 1]
        listed = (folder / "ImageSets" / "Segmentation" / "train.txt").read_text("utf-8")
        return {"images": len(listed.split())}
    said = MASKS.search(done.stdout + done.stderr)
    if said is None:
        raise click.ClickException(f"{row.command} does not say where its masks are")
    return evaluate(work, [said[1]])


def evaluate(work: Path, arguments: list[str]) -> dict[str, Any]:
    """Evaluate a folder of masks; return its report."""
    iseg(work, "evaluate", *arguments)
    report: dict[str, Any] = json.loads((work / arguments[0] / "report.json").read_text("utf-8"))
    return report


def iseg(work: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the program in a folder; whatever it says goes to a failure's message."""
    command = [sys.executable, "-m", "iseg_cli", *arguments]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"iseg {shlex.join(arguments)}\n{done.stdout}{done.stderr}")
    return done


def print_bars(reports: Mapping[str, Mapping[str, Any]]) -> bool:
    """Print the bars whose rows were measured; return whether all are reached."""
    known = reports.get("weakly supervised")
    plain, refined = (reports.get(f"unsupervised, {kind}") for kind in ("DiffSeg alone", "refined"))
    open_words, tags = reports.get("open vocabulary"), reports.get("labels from CLIP alone")
    bars = []
    if plain and refined:
        gain = refined["miou"] - plain["miou"]
        bars.append((gain > 0, f"refined segments gain {100 * gain:.1f} points of mIoU over plain"))
    if tags:
        bars.append((tags["map"] >= 0.8, f"labels: mAP {tags['map']:.3f}, bar 0.80"))
    if known and open_words:
        share = open_words["miou"] / known["miou"]
        bars.append((share >= 0.85, f"open vocabulary: {share:.1%} of true labels' mIoU, bar 85 %"))
    for reached, text in bars:
        click.echo(f"{'reached' if reached else 'MISSED'}: {text}")
    return all(reached for reached, _ in bars)


@click.command(help=__doc__)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("build/tasks"),
    show_default=True,
    help="Folder that the commands are run in.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N images of a split.")
@click.option("--only", help="Only rows whose task has this in its name.")
@click.option("--resume", is_flag=True, help="Keep what an earlier measurement finished.")
@click.option("--write", is_flag=True, help="Write the figures into docs/tasks.md.")
@click.pass_context
def run(
    context: click.Context,
    work: Path,
    limit: int | None,
    only: str | None,
    resume: bool,
    write: bool,
) -> None:
    """Measure the rows and print them."""
    if write and limit is not None:
        raise click.UsageError("--write is for whole splits; leave --limit out")
    work.mkdir(parents=True, exist_ok=True)
    page = PAGE.read_text("utf-8")
    measured, reports = {}, {}
    task = ""
    for row in read_rows(page):
        task = task if row.task == "the same" else row.task
        if only is not None and only not in task:
            continue
        report = measure(row, work, limit, resume=resume)
        if row.task != "the same":
            reports[row.task] = report
        measured[row.command] = tell(row, report)
        click.echo(print_row(row, measured[row.command]))
    if write:
        PAGE.write_text(write_rows(page, measured), "utf-8")
    if not print_bars(reports):
        context.exit(1)


if __name__ == "__main__":
    run()
