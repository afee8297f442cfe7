"""Writes the documentation that comes from the program, or checks that it is current.

docs/cli.md: every command's --help. docs/settings.md: every setting with its default and meaning.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from iseg_cli.cli import main
from iseg_cli.config import describe_settings
from iseg_cli.config.loading import BACKBONES

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH = 100


def cli_page() -> str:
    """Return docs/cli.md: the help of the program and of each command."""
    root = click.Context(main, info_name="iseg", terminal_width=WIDTH, max_content_width=WIDTH)
    parts = ["# Commands\n\nWritten by `make docs` from `iseg --help`.\n"]
    parts += [_help(context) for context in _contexts(root)]
    return "\n".join(parts)


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """Yield the context of a command and those of its commands."""
    yield context
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is None:
                raise click.UsageError(f"there is no command {name}")
            yield from _contexts(
                click.Context(
                    below,
                    info_name=name,
                    parent=context,
                    terminal_width=WIDTH,
                    max_content_width=WIDTH,
                )
            )


def _help(context: click.Context) -> str:
    return f"## {context.command_path}\n\n```text\n{context.command.get_help(context)}\n```\n"


def settings_page() -> str:
    """Return docs/settings.md: a row for every setting."""
    lines = [
        "# Settings",
        "",
        "Written by `make docs` from `iseg_cli/config`. The order of precedence, lowest first: the",
        "default, the backbone (`configs/backbones/`: what is read of a model), the preset",
        "(`configs/`: the dataset and its task), `--config FILE`, options, `--set NAME=VALUE`.",
        "`iseg config show --dataset NAME` prints every value and where it comes from.",
        "`run.json` in an output folder holds the values of its run.",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
    ]
    for name, default, meaning in describe_settings():
        lines.append(f"| `{name}` | {_default(default)} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def _default(text: str) -> str:
    return text if text == BACKBONES else f"`{text}`"


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
