"""What several commands read from their options in the same way."""

import click


def batch_size(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    """Return a number of images, `auto` or None; a usage error for anything else."""
    if value is None or value == "auto":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value} is neither auto nor a number from 1 on")
    return int(value)
