"""The command line: parse, call one workflow, print. Commands import what they need when they run.

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
"""The commands in the order of the help: each a function in a module, both of its name."""

EPILOG = """\b
Examples:
  iseg generate --dataset emoji-voc
  iseg evaluate predictions/emoji-voc-val

Exit codes: 0 done; 1 a usable result with failed images, or below --fail-under;
2 wrong usage or input; 130 stopped with Ctrl-C.
"""


class _UserError(click.ClickException):
    """How an IsegError ends the program: one sentence, no traceback."""

    exit_code = 2


class _Group(click.Group):
    """Imports a command when it is called, and translates our errors once for all of them."""

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
            lines = str(error).split("\n")  # of a library's own report
            raise _UserError("\n".join(map(printable, lines))) from None
        except KeyboardInterrupt:
            click.echo("\nStopped. What was finished stays; the same command resumes.", err=True)
            ctx.exit(130)


@click.group(cls=_Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("iseg-cli"), prog_name="iseg")
def main() -> None:
    """Pixel masks from the attention of Stable Diffusion, without training a segmenter."""
    set_up_pillow()
