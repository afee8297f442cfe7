"""Writes the documentation that comes from the program, or checks that it is current.

docs/cli.md: every command's --help. docs/settings.md: every setting with its default and meaning.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from iseg_cli.cli import COMMANDS, main
from iseg_cli.config import describe_settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH = 100


def cli_page() -> str:
    """Return docs/cli.md: the help of the program and of each command."""
    parts = ["# Commands\n\nWritten by `make docs` from `iseg --help`.\n"]
    root = click.Context(main, info_name="iseg", terminal_width=WIDTH, max_content_width=WIDTH)
    parts.append(f"## iseg\n\n```text\n{main.get_help(root)}\n```\n")
    for name in COMMANDS:
        command = main.get_command(root, name)
        if command is None:
            raise click.UsageError(f"there is no command {name}")
        context = click.Context(
            command, info_name=name, parent=root, terminal_width=WIDTH, max_content_width=WIDTH
        )
        parts.append(f"## iseg {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def settings_page() -> str:
    """Return docs/settings.md: a row for every setting."""
    lines = [
        "# Settings",
        "",
        "Written by `make docs` from `iseg_cli/config`. A preset in `configs/` says what",
        "differs for a dataset; `--config FILE` and `--set NAME=VALUE` have the last word.",
        "`run.json` in every folder of predictions holds all of them as they were used.",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
    ]
    for name, default, meaning in describe_settings():
        lines.append(f"| `{name}` | `{default}` | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def write(pages: Mapping[Path, str]) -> None:
    """Write the pages."""
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
        click.echo(f"wrote {path.relative_to(DOCS.parent)}")


def check(pages: Mapping[Path, str]) -> None:
    """Exit with 1, naming the page, if one is not what the program says today."""
    for path, text in pages.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            click.echo(f"{path.relative_to(DOCS.parent)} is out of date; run `make docs`", err=True)
            sys.exit(1)


@click.command()
@click.option("--check", "only_check", is_flag=True, help="Fail if a page is out of date.")
def run(only_check: bool) -> None:
    """Write docs/cli.md and docs/settings.md."""
    os.environ.pop("FORCE_COLOR", None)
    pages = {DOCS / "cli.md": cli_page(), DOCS / "settings.md": settings_page()}
    (check if only_check else write)(pages)


if __name__ == "__main__":
    run()
