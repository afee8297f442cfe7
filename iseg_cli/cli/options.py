"""Options of several commands, and how their texts are read.

Each option is a decorator: `@options.root` adds `--root` to a command.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from iseg_cli.files.text import split_names

if TYPE_CHECKING:
    from iseg_cli.config.backbone import Backbone

Command = TypeVar("Command", bound=Callable[..., Any])


def number_or_auto(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    """Return a number, `auto` or None; any other text is a usage error."""
    if value is None or value == "auto":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value} is neither auto nor a number from 1 on")
    return int(value)


def note(text: str) -> None:
    """Print a note for the user on standard error."""
    click.echo(f"note: {text}", err=True)


def find_backbone(model: str) -> "Backbone":
    """Return what is read of a model; tell the user what the model's files say about it."""
    from iseg_cli.backbones import matching

    return matching.find_backbone(model, tell=note)


def category_names(
    _: click.Context, __: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Return the names between commas or line ends, without quotes and empty names.

    A text without a name, or with other separators, is a usage error.
    """
    if value is None:
        return None
    try:
        names = split_names(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not names:
        raise click.BadParameter(f'{value!r} names no category; write names such as "cat, dog"')
    return names


def categories(text: str, *, required: bool = False) -> Callable[[Command], Command]:
    """Return the option `--categories` with a help text of the command."""
    return click.option("--categories", callback=category_names, required=required, help=text)


dataset = click.option("--dataset", help="A dataset's name, as iseg info lists them.")
root = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    help="The dataset's folder; else ISEG_<DATASET>_ROOT, then the usual places.",
)
split = click.option("--split", help="By default the dataset's usual one.")
configs = click.option(
    "--config",
    "configs",
    multiple=True,
    metavar="FILE|PRESET",
    help="Settings laid over the dataset's own (a YAML file), or a preset in their place.",
)
assignments = click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="One setting."
)
model = click.option(
    "--model", help="A name that iseg info lists, a hub id or a folder in diffusers format."
)
vae = click.option(
    "--vae",
    metavar="own|taesd|HUB_ID|FOLDER",
    help="taesd: a tiny autoencoder, faster; masks may differ.  [default: own]",
)
compiled = click.option(
    "--compile",
    "compiled",
    is_flag=True,
    default=None,
    help="Compile the model first: some minutes that a long run on a GPU gains back.",
)
png = click.option(
    "--png",
    type=click.Choice(["palette", "grey"]),
    help="Masks in colours, or in grey for tools that read colours (OpenCV).  [default: palette]",
)
batch_size = click.option(
    "--batch-size",
    callback=number_or_auto,
    metavar="N|auto",
    help="Images at a time.  [default: auto]",
)
limit = click.option(
    "--limit", type=click.IntRange(min=1), help="Only the first N images of the split."
)
device = click.option("--device", help="auto, cpu, mps, cuda or cuda:<i>.  [default: auto]")
dtype = click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "float16", "bfloat16"]),
    help="Number format of the model.  [default: auto]",
)
