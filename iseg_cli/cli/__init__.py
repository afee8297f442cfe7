"""The command line: each command parses its options, calls one function and prints.

A command imports the function when it runs, so `iseg --help` starts fast.

Exit codes: 0 done; 1 a usable result with failed images, or a figure below --fail-under; 2 wrong
usage or input; 130 stopped with Ctrl-C.
"""

import importlib
from importlib.metadata import version
from typing import Any

import click

from iseg_cli.cli.messages import printable
from iseg_cli.errors import IsegError
from iseg_cli.files.pillow import set_up_pillow

COMMANDS = ("generate", "evaluate", "sweep", "tag", "synthesize", "benchmark", "config", "info")
"""The commands in the sequence of the help; module and function have the command's name."""

EPILOG = """\b
Examples:
  iseg generate --dataset emoji-voc
  iseg evaluate predictions/emoji-voc-val

Exit codes: 0 done; 1 a usable result with failed images, or below --fail-under;
2 wrong usage or input; 130 stopped with Ctrl-C.
"""


class _UserError(click.ClickException):
    """An IsegError for click: it prints one sentence without a traceback."""

    exit_code = 2


class _Group(click.Group):
    """A group that imports a command when it is called, and turns IsegError into exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(
            importlib.import_module(f"iseg_cli.cli.{cmd_name}"), cmd_name
        )
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except IsegError as error:
            lines = str(error).split("\n")  # the report of a library has several lines
            raise _UserError("\n".join(map(printable, lines))) from None
        except KeyboardInterrupt:
            click.echo("\nStopped. Finished images stay; the same command resumes.", err=True)
            ctx.exit(130)


@click.group(cls=_Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("iseg-cli"), prog_name="iseg")
def main() -> None:
    """Pixel masks from the attention of Stable Diffusion, without training a segmenter."""
    set_up_pillow()
