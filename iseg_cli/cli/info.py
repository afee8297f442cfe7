"""`iseg info`: versions, devices, models and datasets of this installation."""

import click

EXAMPLES = """\b
Example:
  iseg info
"""


@click.command(epilog=EXAMPLES)
def info() -> None:
    """Print versions, devices, models and where datasets are."""
    from iseg_cli.execution.installation import collect

    for title, lines in collect().items():
        click.echo(f"{title}:")
        for name, value in lines:
            click.echo(f"  {name:<14} {value}")
